"""The command: ``python -m benchmarks store [--quick]``."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import append, context, jetstream, projections, read, upcasting
from benchmarks.measure import Bench, Scale, as_json, fsync_micros

BENCHES: Final[dict[str, tuple[Bench, ...]]] = {
    "store": (append.bench, read.bench),
    "context": (context.bench,),
    "jetstream": (jetstream.bench,),
    "projections": (projections.bench,),
    "upcasting": (upcasting.bench,),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--quick", action="store_true", help="see in seconds that it runs; the numbers mean nothing")
    parser.add_argument("--log-events", type=int, default=100_000, help="size of the logs that are read (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of all randomness")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows whose name holds this")
    parser.add_argument("--directory", type=Path, help="on the disk to measure; a temporary one is made inside")
    given = parser.parse_args()
    scale = Scale(
        rng=random.Random(given.seed),
        seed=given.seed,
        log_events=20_000 if given.quick else given.log_events,
        quick=given.quick,
        only=given.rows,
    )
    with tempfile.TemporaryDirectory(prefix="bench-", dir=given.directory) as directory:
        print(f"seed {given.seed}, in {directory}, fsync {fsync_micros(Path(directory)):.0f} us", file=sys.stderr)
        asyncio.run(run(BENCHES[given.name], scale, Path(directory)))


async def run(benches: tuple[Bench, ...], scale: Scale, directory: Path) -> None:
    started = time.monotonic()
    for bench in benches:
        async for result in bench(scale, directory):
            print(as_json(result), flush=True)
            said = "" if result.ratio is None else f", {result.ratio:.2f} x {result.against} ({result.theirs:,.1f})"
            print(f"{result.name}: {result.ours:,.1f} {result.unit}{said}", file=sys.stderr)
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
