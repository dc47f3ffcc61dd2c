"""The contract of a backend, as a suite of tests."""

from __future__ import annotations

from eventstore.testing._appending import Atomicity, Handles, Idempotency, Ids, Numbering, Order, Visibility
from eventstore.testing._following import Following
from eventstore.testing._reading import Log, Streams
from eventstore.testing._timing import Timing


class BackendContract(
    Numbering, Atomicity, Order, Visibility, Idempotency, Handles, Ids, Streams, Log, Following, Timing
):
    """Proves that a backend keeps what the docstring of ``eventstore.Backend`` promises.

    Subclass it under a name that pytest collects, and say how to make a backend::

        def my_backend(folder: Path) -> MyBackend:
            return MyBackend(folder / "log")

        class TestMyBackend(BackendContract):
            backend = staticmethod(my_backend)

    The folder is empty when a case begins; a second backend for the same folder is another handle on the same log. A
    backend of a server may ignore the folder: no case assumes an empty log, nor that nobody else writes to it.

    No case is ever skipped. Where backends may differ, set the attribute that says so: ``lasting``, ``times_fall``,
    ``wakes_within``, ``chunk_commits``; and ``patience`` and ``loop_factory`` for how the cases run. A new
    release may add cases.
    """
