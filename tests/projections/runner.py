"""A process that runs a projection until it is killed: ``python -m tests.projections.runner LOG TARGET LEASE``."""

from __future__ import annotations

import asyncio
import sys

from eventstore import open_store
from projections import Batching, run

from tests.projections.targets import open_target
from tests.projections.views import CODEC


async def main(log: str, url: str, lease: float) -> None:
    """Run, in small batches, so that there are many moments to be killed in."""
    async with open_store(log, CODEC) as store, open_target(url) as target:
        await run(target.projection, store, target.model, batching=Batching(commits=3), lease=lease)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
