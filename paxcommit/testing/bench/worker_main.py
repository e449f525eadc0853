"""``python -m paxcommit.testing.bench.worker_main``: one system, measured in a process of its own.

Takes a `Job` and then orders on standard input, answers each on standard output; see `job`.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from paxcommit.testing.bench.job import (
    Block,
    Blocked,
    Job,
    Measure,
    Message,
    Opened,
    decode,
    encode,
)
from paxcommit.testing.bench.loading import AsyncLoad, SyncLoad
from paxcommit.testing.bench.systems.choice import make_async, make_sync

__all__: list[str] = []


def _main() -> None:
    logging.basicConfig(level=logging.WARNING)
    job = decode(sys.stdin.readline())
    if not isinstance(job, Job):
        raise SystemExit("the first line names the job")
    if job.driver == "psycopg-sync":
        asyncio.run(_serve_sync(job))
        return
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve_async(job, "asyncio"))
    else:
        uvloop.run(_serve_async(job, "uvloop"))


async def _serve_async(job: Job, loop: str) -> None:
    system = make_async(job)
    await system.open()
    try:
        await _serve(AsyncLoad(system), loop)
    finally:
        await system.close()


async def _serve_sync(job: Job) -> None:
    system = make_sync(job)
    system.open()
    try:
        await _serve(SyncLoad(system), "threads")
    finally:
        system.close()


async def _serve(load: AsyncLoad | SyncLoad, loop: str) -> None:
    _tell(Opened(loop))
    while line := await asyncio.to_thread(sys.stdin.readline):
        match decode(line):
            case Measure() as order:
                _tell(await load.measure(order))
            case Block(transactions=transactions):
                await load.block(transactions)
                _tell(Blocked())
            case other:
                raise SystemExit(f"no order: {other}")


def _tell(message: Message) -> None:
    sys.stdout.write(encode(message))
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
