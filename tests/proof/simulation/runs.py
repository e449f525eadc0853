"""Many seeds, in one process or several: what they came to, and whether that is enough."""

from __future__ import annotations

import gc
import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.proof.simulation.marks import MARKS
from tests.proof.simulation.words import in_words
from tests.proof.simulation.world import World

__all__ = ["Tally", "run", "shortfalls", "trace"]

_CHUNK = 100
_WORLDS_OF_GARBAGE = 25
_LEAST = {"committed": 0.20, "aborted": 0.20, "unknown": 0.01}
"""The shares of all transactions below which a run proves too little."""


@dataclass(slots=True)
class Tally:
    """What some seeds came to.

    Attributes:
        seeds: How many were run, the failing one included.
        outcomes: What owners were told.
        marks: In how many seeds each mark was reached.
        seed: The first that failed, None if none did.
        violation: What was wrong with it.
        seconds: How long it took.
        cpu: Seconds of processor time that it took.
    """

    seeds: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    seed: int | None = None
    violation: str = ""
    seconds: float = 0.0
    cpu: float = 0.0

    def add(self, other: Tally) -> None:
        """Add what other seeds came to."""
        self.seeds += other.seeds
        self.outcomes += other.outcomes
        self.marks += other.marks
        self.cpu += other.cpu
        if other.seed is not None and self.seed is None:
            self.seed, self.violation = other.seed, other.violation


def run(first: int, count: int, jobs: int = 1) -> Tally:
    """Run `count` seeds from `first` on; stop at the first that fails."""
    started = time.perf_counter()
    tally = Tally()
    chunks = [(at, min(_CHUNK, first + count - at)) for at in range(first, first + count, _CHUNK)]
    for part in _parts(chunks, jobs):
        tally.add(part)
        if tally.seed is not None:
            break
    tally.seconds = time.perf_counter() - started
    return tally


def _parts(chunks: list[tuple[int, int]], jobs: int) -> Iterator[Tally]:
    if jobs == 1:
        yield from map(_chunk, chunks)
        return
    with ProcessPoolExecutor(jobs) as workers:
        try:
            yield from workers.map(_chunk, chunks)
        finally:
            workers.shutdown(cancel_futures=True)


def _chunk(chunk: tuple[int, int]) -> Tally:
    first, count = chunk
    tally = Tally()
    started = time.process_time()
    with _undisturbed():
        for seed in range(first, first + count):
            if seed % _WORLDS_OF_GARBAGE == 0:
                gc.collect()
            tally.seeds += 1
            world = World(seed)
            try:
                world.run()
            except Exception as broken:  # noqa: BLE001 - whatever it was, the seed has failed
                tally.seed, tally.violation = seed, f"{type(broken).__name__}: {broken}"
                break
            tally.outcomes.update(world.outcomes())
            tally.marks.update(world.marks)
    tally.cpu = time.process_time() - started
    return tally


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the product's logs, and collecting garbage only between worlds: all of it at once."""
    log, collects = logging.getLogger("paxcommit"), gc.isenabled()
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    gc.disable()
    try:
        yield
    finally:
        log.setLevel(level)
        if collects:
            gc.enable()


def trace(seed: int) -> tuple[list[str], str]:
    """Run one seed once more, and return what happened in words, and what was wrong."""
    world = World(seed, trace=True)
    violation = ""
    try:
        with _undisturbed():
            world.run()
    except Exception as broken:  # noqa: BLE001 - see `_chunk`
        violation = f"{type(broken).__name__}: {broken}"
    return [in_words(line) for line in world.pool.trace or []], violation


def shortfalls(tally: Tally) -> list[str]:
    """Say what the run has exercised too little to prove anything."""
    told = sum(tally.outcomes.values())
    short = [
        f"{tally.outcomes[outcome]} of {told} transactions {outcome}, fewer than {share:.0%}"
        for outcome, share in _LEAST.items()
        if tally.outcomes[outcome] < share * told or not told
    ]
    short += [f"never reached: {mark}" for mark in MARKS if not tally.marks[mark]]
    short += [f"an undeclared mark: {mark}" for mark in sorted(set(tally.marks) - set(MARKS))]
    return short
