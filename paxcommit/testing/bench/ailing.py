"""What one acceptor that is dead, or late, does to everybody else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal, TypeAlias

from paxcommit.errors import UsageError
from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.job import Measure, Measured
from paxcommit.testing.bench.measuring import Schedule
from paxcommit.testing.bench.reckoning import METRICS, median_ratio
from paxcommit.testing.bench.stage import Stage, apart
from paxcommit.testing.bench.tapping import ProxyThread
from paxcommit.testing.bench.worker import Worker
from paxcommit.testing.chaos.rules import Direction, Rule
from paxcommit.testing.server import Server

__all__ = ["Ailment", "play_ailing"]

Ailment = Literal["dead", "slow"]

_LATE = 0.05
_LIMITS = {"dead": ("throughput", 0.9, True), "slow": ("p99", 1.2, False)}


_Found: TypeAlias = dict[tuple[str, int], list[Measured]]
"""By acceptor that was, or was to be, ill, and number of clients."""


class _Late(Rule):
    """Every answer comes later."""

    def delay(self, direction: Direction) -> float:
        return _LATE if direction == "down" else 0.0


def play_ailing(
    ailment: Ailment,
    driver: str,
    clients: Sequence[int],
    schedule: Schedule,
    tell: Callable[[str], None],
    *,
    acceptors: Sequence[str] = ("a1", "a2", "a3"),
) -> dict[str, Any]:
    """Measure with all acceptors well, and with one that is not; each acceptor in its turn.

    ``dead``: its server is stopped like in a crash while the coordinator is open.  ``slow``: its
    answers take 50 ms longer; in both measurements all acceptors are behind the same proxy.
    Participants are on servers of their own.

    Args:
        ailment: Which.
        driver: One of the drivers.
        clients: How many; each is measured apart.
        schedule: Every acceptor is tried so many times.
        tell: Hears what is going on.
        acceptors: Which of the three have their turn.

    Returns:
        The JSON document: medians of the ratios of ill to well, and what they should be.
    """
    random = Random(schedule.seed)  # noqa: S311 - a rerun needs the same draws
    well: _Found = {}
    ill: _Found = {}
    with apart(participants=2, failures=1, clients=max(clients)) as stage:
        trial = _Trial(stage, ailment, driver, clients, schedule)
        for repetition in range(1, schedule.repetitions + 1):
            for victim in random.sample(acceptors, len(acceptors)):
                tell(f"repetition {repetition} of {schedule.repetitions}: {victim} {ailment}")
                for is_ill in random.sample((False, True), 2):
                    found = trial.run(victim if is_ill else None)
                    for number, measured in found.items():
                        key = (victim, number)
                        (ill if is_ill else well).setdefault(key, []).append(measured)
    metric, limit, at_least = _LIMITS[ailment]
    ratios, by_victim = _ratios(ailment, clients, acceptors, (well, ill))
    held = ratios.get(f"{metric}_acceptor_{ailment}_vs_alive_{max(clients)}")
    met = held is not None and (held >= limit if at_least else held <= limit)
    return {
        "scenario": f"acceptor-{ailment}",
        "driver": driver,
        "ratios": ratios,
        "by_acceptor": by_victim,
        "target": f"{metric} {'>=' if at_least else '<='} {limit:g}",
        "met": met,
    }


@dataclass(frozen=True, slots=True)
class _Trial:
    """One process, measured with every number of clients."""

    stage: Stage
    ailment: Ailment
    driver: str
    clients: Sequence[int]
    schedule: Schedule

    def run(self, victim: str | None) -> dict[int, Measured]:
        """Measure with this acceptor ill, or with none."""
        job = self.stage.job(Group(self.driver, "paxcommit-applied"))
        if self.ailment == "slow":
            with ProxyThread(job.settings["acceptors"]) as through:
                if victim is not None:
                    through.apply(_Late(), victim)
                settings = {**job.settings, "acceptors": through.dsns}
                with Worker(replace(job, settings=settings)) as worker:
                    return self._measure(worker)
        with Worker(job) as worker:
            if victim is None:
                return self._measure(worker)
            server = self._server_of(victim)
            server.stop("immediate")
            try:
                return self._measure(worker)
            finally:
                server.start()

    def _measure(self, worker: Worker) -> dict[int, Measured]:
        found = {}
        for number in self.clients:
            self.stage.checkpoint()
            order = Measure(number, self.schedule.warm, self.schedule.seconds)
            found[number] = worker.order(order, Measured)
        return found

    def _server_of(self, acceptor: str) -> Server:
        if self.stage.cluster is None:
            raise UsageError("only servers of our own are stopped")
        sites = [*self.stage.settings["participants"], *self.stage.settings["acceptors"]]
        return self.stage.cluster.servers[sites.index(acceptor)]  # `apart`: one for each


def _ratios(
    ailment: Ailment,
    clients: Sequence[int],
    victims: Sequence[str],
    found: tuple[_Found, _Found],
) -> tuple[dict[str, float], dict[str, dict[str, float | None]]]:
    """Ratios of ill to well: the median over acceptors, and of each."""
    well, ill = found
    ratios: dict[str, float] = {}
    by_victim: dict[str, dict[str, float | None]] = {}
    for number in clients:
        for name in METRICS:
            each = {v: median_ratio(name, ill[v, number], well[v, number]) for v in victims}
            known = [ratio for ratio in each.values() if ratio is not None]
            key = f"{name}_acceptor_{ailment}_vs_alive_{number}"
            by_victim[key] = each
            if known:
                ratios[key] = round(statistics.median(known), 3)
    return ratios, by_victim
