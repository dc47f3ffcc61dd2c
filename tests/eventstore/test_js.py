from __future__ import annotations

import os
from pathlib import Path

from eventstore.jetstream import JetStreamBackend
from eventstore.testing import BackendContract


def js_backend(folder: Path):
    name = "S" + str(abs(hash(str(folder))))
    return JetStreamBackend(
        [os.environ.get("NATS", "nats://127.0.0.1:4333")],
        name,
        prefix=f"{name}.e",
        replicas=int(os.environ.get("R", "1")),
    )


class TestJetStream(BackendContract):
    backend = staticmethod(js_backend)
    times_fall = True
