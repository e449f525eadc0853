"""Measuring: every group in a process of its own, interleaved, several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from paxcommit.testing.bench.cells import Cell, Group
from paxcommit.testing.bench.job import Measure, Measured
from paxcommit.testing.bench.stage import Stage
from paxcommit.testing.bench.worker import Worker

__all__ = ["Measurements", "Schedule", "measure"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how often.

    Attributes:
        seconds: Of one measurement.
        warm: Seconds before it that do not count.
        repetitions: Of every cell.
        seed: Draws the order within each repetition.
    """

    seconds: float
    warm: float
    repetitions: int
    seed: int


@dataclass(slots=True)
class Measurements:
    """What was measured, one entry per repetition, in the same order for every cell.

    Attributes:
        cells: By cell.
        loops: Which event loop each driver ran on.
    """

    cells: dict[Cell, list[Measured]] = field(default_factory=dict)
    loops: dict[str, str] = field(default_factory=dict)


def measure(
    stage: Stage,
    groups: Sequence[Group],
    clients: Sequence[int],
    schedule: Schedule,
    tell: Callable[[str], None],
) -> Measurements:
    """Measure all cells; the order is drawn anew in each repetition.

    Args:
        stage: Where.
        groups, clients: Which cells.
        schedule: How often, how long, in which order.
        tell: Hears what is measured next.
    """
    found = Measurements()
    random = Random(schedule.seed)  # noqa: S311 - a rerun needs the same draws
    for repetition in range(1, schedule.repetitions + 1):
        for at, group in enumerate(random.sample(groups, len(groups)), 1):
            tell(
                f"repetition {repetition} of {schedule.repetitions}, {at} of {len(groups)}: "
                f"{group.system} on {group.driver}, N={group.participants}"
                + (f", F={group.failures}" if group.acceptors else "")
            )
            with Worker(stage.job(group)) as worker:
                found.loops[group.driver] = worker.loop
                for number in random.sample(clients, len(clients)):
                    stage.checkpoint()
                    order = Measure(number, schedule.warm, schedule.seconds)
                    measured = worker.order(order, Measured)
                    found.cells.setdefault(Cell(group, number), []).append(measured)
    return found
