from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Record(_message.Message):
    __slots__ = ("header", "commit", "footer")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    FOOTER_FIELD_NUMBER: _ClassVar[int]
    header: SegmentHeader
    commit: SegmentCommit
    footer: SegmentFooter
    def __init__(self, header: _Optional[_Union[SegmentHeader, _Mapping]] = ..., commit: _Optional[_Union[SegmentCommit, _Mapping]] = ..., footer: _Optional[_Union[SegmentFooter, _Mapping]] = ...) -> None: ...

class SegmentHeader(_message.Message):
    __slots__ = ("format", "log_id")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    format: int
    log_id: str
    def __init__(self, format: _Optional[int] = ..., log_id: _Optional[str] = ...) -> None: ...

class SegmentCommit(_message.Message):
    __slots__ = ("category", "id", "position", "recorded_at", "envelope")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECORDED_AT_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    category: str
    id: str
    position: int
    recorded_at: int
    envelope: bytes
    def __init__(self, category: _Optional[str] = ..., id: _Optional[str] = ..., position: _Optional[int] = ..., recorded_at: _Optional[int] = ..., envelope: _Optional[bytes] = ...) -> None: ...

class SegmentFooter(_message.Message):
    __slots__ = ("commits", "events", "last_position", "digest")
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    commits: int
    events: int
    last_position: int
    digest: bytes
    def __init__(self, commits: _Optional[int] = ..., events: _Optional[int] = ..., last_position: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...
