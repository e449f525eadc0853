"""A whole run: plan in, result out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from paxcommit.errors import ConfigurationError
from paxcommit.settings import Settings
from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench.cells import FLOORS, Group, groups
from paxcommit.testing.bench.counting import Counts, count
from paxcommit.testing.bench.job import Measure, Measured
from paxcommit.testing.bench.measuring import Measurements, Schedule, measure
from paxcommit.testing.bench.reckoning import floor_ratios, ratios, summary, told_targets
from paxcommit.testing.bench.stage import Stage, apart, configured, together
from paxcommit.testing.bench.worker import Worker

__all__ = ["Plan", "Result", "play", "spell"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        schedule: How long and how often.
        config: Whose servers; None: servers of our own.
        drivers, systems: By name; floors as well.
        participants, failures, clients: The values of N, F and clients; the first N and F are
            those that ratios are told of.
        counts: Whether to count as well (on servers of our own).
        profile: Whether to look where the client's CPU goes.
    """

    schedule: Schedule
    config: Path | None
    drivers: Sequence[str]
    systems: Sequence[str]
    participants: Sequence[int]
    failures: Sequence[int]
    clients: Sequence[int]
    counts: bool = True
    profile: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        plan: What was asked for.
        measurements: As measured.
        counts: Per group.
        server: PostgreSQL's version.
        profile: Measured under a profiler; None if nobody asked.
    """

    plan: Plan
    measurements: Measurements
    counts: dict[Group, Counts]
    server: str
    profile: Measured | None = None

    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """By driver; for the first N and F."""
        n, f = self.plan.participants[0], self.plan.failures[0]
        return {driver: ratios(self.measurements, driver, n, f) for driver in self.plan.drivers}

    @property
    def floors(self) -> dict[str, dict[str, float]]:
        """Of the first driver, N and F: the ratios with a floor in paxcommit's place."""
        plan = self.plan
        first = (plan.drivers[0], plan.participants[0], plan.failures[0])
        return floor_ratios(self.measurements, *first)

    @property
    def document(self) -> dict[str, Any]:
        """For ``--json``; ``"ratios"`` are those of the first driver."""
        first, *others = self.plan.drivers
        schedule = asdict(self.plan.schedule)
        return {
            "driver": first,
            "ratios": self.ratios[first],
            "targets": told_targets(self.ratios[first]),
            "floors": self.floors,
            "ratios_of_other_drivers": {driver: self.ratios[driver] for driver in others},
            "counts": {spell(group): asdict(counts) for group, counts in self.counts.items()},
            "cells": summary(self.measurements),
            "profile": self.profile.profile if self.profile else [],
            "profile_packages": self.profile.packages if self.profile else [],
            "loops": self.measurements.loops,
            "server": self.server,
            "python": sys.version.split()[0],
            "schedule": schedule,
        }


def spell(group: Group) -> str:
    """A key for the JSON document, such as ``asyncpg paxcommit-applied N=2 F=1``."""
    tail = f" F={group.failures}" if group.acceptors else ""
    return f"{group.driver} {group.system} N={group.participants}{tail}"


def play(plan: Plan, tell: Callable[[str], None]) -> Result:
    """Measure and count; blocks.

    Args:
        plan: What.
        tell: Hears what is going on.

    Raises:
        ConfigurationError: The plan cannot be carried out here; says why.
        ClusterError: A server or a measuring process failed.
    """
    _check_floors(plan)
    _check_installed(plan)
    wanted = list(groups(plan.drivers, plan.systems, plan.participants, plan.failures))
    tell("starting servers")
    with _stage(plan) as stage:
        measurements = measure(stage, wanted, plan.clients, plan.schedule, tell)
        profile = _profile(stage, plan, tell) if plan.profile else None
        server = str(admin_execute(stage.log, "SHOW server_version")[0][0])
    counts: dict[Group, Counts] = {}
    if plan.counts:
        tell("starting servers that are quiet")
        with apart(
            participants=max(plan.participants), clients=1, quiet=True, **_failures(plan)
        ) as stage:
            for group in wanted:
                tell(f"counting {spell(group)}")
                counts[group] = count(stage, group)
    return Result(plan, measurements, counts, server, profile)


def _check_floors(plan: Plan) -> None:
    floors = ", ".join(name for name in plan.systems if name in FLOORS)
    if floors and (plan.config is not None or set(plan.drivers) != {"asyncpg"}):
        raise ConfigurationError(
            f"{floors}: a floor is unsafe, and written for asyncpg: measure it on this command's "
            "own servers, without --config and --drivers"
        )


def _check_installed(plan: Plan) -> None:
    """See that everything can be measured, before a run and not in the middle of it."""
    modules = {driver: driver.partition("-")[0] for driver in plan.drivers}
    if "sqlalchemy" in plan.systems:
        modules["sqlalchemy"] = "sqlalchemy"
    for name, module in modules.items():
        if find_spec(module) is None:
            raise ConfigurationError(
                f"{name} cannot be measured, for {module} is not installed: pip install "
                f"'paxcommit[bench]', or leave it out with --systems and --drivers"
            )


@contextmanager
def _stage(plan: Plan) -> Iterator[Stage]:
    clients = max(plan.clients)
    if plan.config is not None:
        with configured(Settings.load(plan.config), clients=clients) as stage:
            yield stage
        return
    with together(participants=max(plan.participants), clients=clients, **_failures(plan)) as stage:
        yield stage


def _failures(plan: Plan) -> dict[str, Any]:
    *others, largest = sorted(set(plan.failures))
    return {"failures": largest, "others": others}


def _profile(stage: Stage, plan: Plan, tell: Callable[[str], None]) -> Measured:
    group = Group(plan.drivers[0], "paxcommit-applied", plan.participants[0], plan.failures[0])
    tell("looking where the client's CPU goes")
    with Worker(stage.job(group)) as worker:
        order = Measure(max(plan.clients), plan.schedule.warm, plan.schedule.seconds, profile=True)
        return worker.order(order, Measured)
