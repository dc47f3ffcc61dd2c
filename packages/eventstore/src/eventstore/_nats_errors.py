"""The errors of JetStream's interface, by their codes, and what they are here."""

from __future__ import annotations

from typing import Final

from eventstore._errors import EventStoreError, NotAStore, StoreFull, StoreNotFound, StoreUnavailable

# Of JetStream's interface.
WRONG_LAST_SEQUENCE: Final = 10071
STREAM_NOT_FOUND: Final = 10059
STREAM_EXISTS: Final = 10058
MESSAGE_NOT_FOUND: Final = 10037
# Another write of the subject is under way; ask again.
IN_FLIGHT: Final = frozenset({10164, 10163, 10158})
_SUBJECTS_OVERLAP: Final = 10065
_NOT_ENABLED: Final = frozenset({10039, 10076})
# More replicas than there are servers, or than have room.
_TOO_FEW_SERVERS: Final = frozenset({10074, 10005})
# Messages, bytes, storage, or the size of one message.
_LIMIT_REACHED: Final = frozenset({10077, 10047, 10023, 10054})

# Statuses in a message's header.
NO_RESPONDERS: Final = 503
END_OF_BATCH: Final = 204
NOT_FOUND: Final = 404
CONTROL: Final = 100
# Of an error: no leader at this moment, servers that shut down.
_UNAVAILABLE: Final = 503


class NoAnswer(StoreUnavailable):
    """Nobody answered a request in time, or nobody was there to. What it asked for may have happened."""


class Refused(EventStoreError):
    """JetStream answered a request with an error."""

    def __init__(self, verb: str, code: int, err_code: int) -> None:
        super().__init__(f"JetStream answered {verb} with error {err_code} (status {code})")
        self.code = code
        self.err_code = err_code

    @property
    def passes(self) -> bool:
        """Whether it is no answer at all: nobody could give one now."""
        return self.code == _UNAVAILABLE and self.err_code not in _NOT_ENABLED | _LIMIT_REACHED


def translated(error: Refused) -> EventStoreError:
    """Return the error of this package for one of JetStream's."""
    if error.err_code in _NOT_ENABLED:
        return StoreUnavailable("JetStream is not enabled on the server, or not for this account")
    if error.err_code == _SUBJECTS_OVERLAP:
        return NotAStore("another JetStream stream stores subjects with this prefix")
    if error.err_code == STREAM_NOT_FOUND:
        return StoreNotFound("the JetStream stream is gone")
    if error.err_code in _TOO_FEW_SERVERS:
        return StoreUnavailable(f"there are not enough servers for so many replicas (error {error.err_code})")
    if error.err_code in _LIMIT_REACHED:
        return StoreFull("the JetStream stream takes no more: a limit of messages, bytes or storage is reached")
    return StoreUnavailable(str(error))
