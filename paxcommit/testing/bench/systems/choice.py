"""From a job to the system that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.systems import aio, floor, led, threads
from paxcommit.testing.bench.systems.alchemy import Alchemy, AsyncAlchemy
from paxcommit.testing.bench.systems.paxos import AsyncPaxos, Paxos
from paxcommit.testing.bench.systems.system import AsyncSystem, SyncSystem

__all__ = ["make_async", "make_sync"]

_ASYNC: Mapping[str, Callable[[Job], AsyncSystem]] = {
    "plain": aio.Plain,
    "bare": aio.Bare,
    "logged-2pc": aio.Logged,
    "sqlalchemy": AsyncAlchemy,
    "paxcommit-applied": AsyncPaxos,
    "paxcommit-decided": AsyncPaxos,
    "floor": floor.Floor,
    "floor-decided": floor.Floor,
    "floor-led": led.Led,
    "floor-led-decided": led.Led,
    "floor-rows": floor.Rows,
    "floor-rows-decided": floor.Rows,
    "floor-votes": floor.Votes,
    "floor-branches": floor.Branches,
}
_SYNC: Mapping[str, Callable[[Job], SyncSystem]] = {
    "plain": threads.Plain,
    "bare": threads.Bare,
    "logged-2pc": threads.Logged,
    "sqlalchemy": Alchemy,
    "paxcommit-applied": Paxos,
    "paxcommit-decided": Paxos,
}


def make_async(job: Job) -> AsyncSystem:
    """The system on asyncio."""
    return _ASYNC[job.system](job)


def make_sync(job: Job) -> SyncSystem:
    """The system on threads."""
    return _SYNC[job.system](job)
