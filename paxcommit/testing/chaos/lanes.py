"""When which fault is made: three lanes side by side, each with one fault at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import get_args

from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.faults import Kind, Occurrence, make
from paxcommit.testing.chaos.faults.fault import Lane
from paxcommit.testing.chaos.processes import Staff
from paxcommit.testing.chaos.stage import Stage

__all__ = ["draw_order", "run_lanes"]

_SHORTEST, _LONGEST = 1.2, 6.0
"""Seconds from one fault of a lane to the next, roughly."""
_CHANCES = 2
_SHARE = 0.5
"""Of the time per fault; the rest is for making it, and for the work to recover."""


async def run_lanes(
    kinds: Iterable[Kind],
    stage: Stage,
    staff: Staff,
    chronicle: Chronicle,
    *,
    seconds: float,
    seed: int,
) -> None:
    """Make faults for `seconds`, or longer until every kind had its turn.

    The order of each lane, the targets and how long each is meant to last depend on the seed alone.
    """
    chosen = sorted(kinds, key=lambda kind: kind.name)
    over = time.monotonic() + seconds
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(seconds))  # without any fault, too
            for name in get_args(Lane):
                mine = [kind for kind in chosen if kind.lane == name]
                if mine:
                    lane = _Lane(name, mine, seed, seconds)
                    group.create_task(lane.run(stage, staff, chronicle, over))
    except ExceptionGroup as errors:  # the first is the cause, and says what to do
        raise errors.exceptions[0] from None


def draw_order(random: Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    """Draw which fault follows which, without end: round after round, each kind once a round."""
    while True:
        yield from random.sample(kinds, len(kinds))


class _Lane:
    def __init__(self, name: str, kinds: Sequence[Kind], seed: int, seconds: float) -> None:
        self._name = name
        self._kinds = list(kinds)
        self._seed = seed
        slot = min(_LONGEST, max(_SHORTEST, seconds / len(kinds)))
        self._each = slot * _SHARE
        self._gap = slot - self._each

    async def run(self, stage: Stage, staff: Staff, chronicle: Chronicle, over: float) -> None:
        random = Random(f"{self._seed}:{self._name}")  # noqa: S311 - a rerun needs the same draws
        order = draw_order(Random(random.random()), self._kinds)  # noqa: S311 - as above
        unlucky: list[Kind] = []  # in the first round: each gets another chance before the end
        number = 0
        while time.monotonic() < over or number < len(self._kinds) or unlucky:
            first_round = number < len(self._kinds)
            late = time.monotonic() >= over and not first_round
            kind = unlucky.pop() if late else next(order)
            number += 1
            occurrence = Occurrence(
                f"{self._name}-{number}",
                kind,
                stage,
                staff,
                Random(f"{self._seed}:{self._name}:{number}"),  # noqa: S311 - as above
                self._each * random.uniform(0.7, 1.3),
                chronicle,
            )
            staff.check()
            fired = await make(occurrence)
            if first_round and not fired:
                unlucky += [kind] * _CHANCES
            elif fired:
                unlucky = [each for each in unlucky if each is not kind]
            await asyncio.sleep(self._gap * random.uniform(0.5, 1.0))
