"""From measurements to medians and ratios, and the targets that they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paxcommit.testing.bench.cells import FLOORS, Cell, Group
from paxcommit.testing.bench.job import Measured
from paxcommit.testing.bench.measuring import Measurements

__all__ = [
    "METRICS",
    "TARGETS",
    "Target",
    "floor_ratios",
    "median_ratio",
    "medians",
    "ratios",
    "summary",
    "told_targets",
]

_APPLIED, _DECIDED = "paxcommit-applied", "paxcommit-decided"


def _throughput(measured: Measured) -> float:
    return measured.commits / measured.seconds


def _cpu(measured: Measured) -> float:
    return measured.cpu / max(1, measured.commits)


METRICS: Mapping[str, Callable[[Measured], float]] = {
    "throughput": _throughput,
    "p50": lambda measured: measured.p50,
    "p99": lambda measured: measured.p99,
    "cpu": _cpu,
}
"""Transactions per second; seconds of commit latency; seconds of client CPU per transaction."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio, and what it should be.

    Attributes:
        name: In the JSON document.
        metric: One of `METRICS`.
        system, baseline: The two systems.
        clients: How many.
        limit: The target.
        at_least: Whether more is better, else less is.
    """

    name: str
    metric: str
    system: str
    baseline: str
    clients: int
    limit: float
    at_least: bool = False

    def is_met(self, ratio: float) -> bool:
        """Whether a measured ratio meets it."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit


TARGETS = (
    Target("throughput_vs_bare_64", "throughput", _APPLIED, "bare", 64, 0.85, at_least=True),
    Target(
        "throughput_vs_logged_2pc_64", "throughput", _APPLIED, "logged-2pc", 64, 1.25, at_least=True
    ),
    Target(
        "throughput_vs_sqlalchemy_64", "throughput", _APPLIED, "sqlalchemy", 64, 2.0, at_least=True
    ),
    Target("decided_p50_vs_bare_64", "p50", _DECIDED, "bare", 64, 0.95),
    Target("decided_p50_vs_bare_1", "p50", _DECIDED, "bare", 1, 1.35),
    Target("applied_p50_vs_bare_1", "p50", _APPLIED, "bare", 1, 1.8),
    Target("applied_p50_vs_logged_2pc_1", "p50", _APPLIED, "logged-2pc", 1, 1.1),
    Target("client_cpu_vs_bare_64", "cpu", _APPLIED, "bare", 64, 1.5),
)
"""For N=2, F=1 on asyncpg."""


def median_ratio(metric: str, these: Sequence[Measured], those: Sequence[Measured]) -> float | None:
    """The median of the ratios of one repetition each; None where nothing was measured."""
    get = METRICS[metric]
    found = [
        get(one) / get(other) for one, other in zip(these, those, strict=False) if get(other) > 0
    ]
    return round(statistics.median(found), 3) if found else None


def ratios(measurements: Measurements, driver: str, n: int, f: int) -> dict[str, float]:
    """The ratios of `TARGETS` whose cells were measured."""
    return _ratios(measurements, driver, n, f, {})


def floor_ratios(
    measurements: Measurements, driver: str, n: int, f: int
) -> dict[str, dict[str, float]]:
    """The same ratios with a floor in paxcommit's place, for each floor that was measured."""
    found: dict[str, dict[str, float]] = {}
    for floor in FLOORS:
        if (early := f"{floor}-decided") in FLOORS:
            told = _ratios(measurements, driver, n, f, {_APPLIED: floor, _DECIDED: early})
            found |= {floor: told} if told else {}
    return found


def _ratios(
    measurements: Measurements, driver: str, n: int, f: int, places: Mapping[str, str]
) -> dict[str, float]:
    """`places` names those that stand in for others."""
    found = {}
    for target in TARGETS:
        cell, baseline = (
            Cell(Group(driver, system, n, f), target.clients)
            for system in (places.get(target.system, target.system), target.baseline)
        )
        ratio = median_ratio(
            target.metric,
            measurements.cells.get(cell, ()),
            measurements.cells.get(baseline, ()),
        )
        if ratio is not None:
            found[target.name] = ratio
    return found


def told_targets(found: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """For the JSON document: each target, and whether it is met; it is never an exit code."""
    return {
        target.name: {
            "limit": target.limit,
            "at_least": target.at_least,
            "met": target.is_met(found[target.name]),
        }
        for target in TARGETS
        if target.name in found
    }


def summary(measurements: Measurements) -> list[dict[str, Any]]:
    """Per cell, medians over repetitions, and their ratios to the bare driver's."""
    rows = []
    for cell in sorted(measurements.cells):
        these = measurements.cells[cell]
        group = cell.group
        bare = next(
            (
                found
                for other, found in measurements.cells.items()
                if (other.group.driver, other.group.system) == (group.driver, "bare")
                and (other.group.participants, other.clients) == (group.participants, cell.clients)
            ),
            (),
        )
        rows.append(
            {
                "driver": group.driver,
                "system": group.system,
                "participants": group.participants,
                "failures": group.failures if group.acceptors else None,
                "clients": cell.clients,
                **medians(these),
                "vs_bare": {metric: median_ratio(metric, these, bare) for metric in METRICS},
                "transactions": [measured.commits for measured in these],
            }
        )
    return rows


def medians(these: Sequence[Measured]) -> dict[str, float]:
    """Medians over repetitions, with their units in their names."""
    return {
        "transactions_per_second": round(_median("throughput", these), 1),
        "commit_p50_ms": round(_median("p50", these) * 1000, 3),
        "commit_p99_ms": round(_median("p99", these) * 1000, 3),
        "client_cpu_ms": round(_median("cpu", these) * 1000, 3),
    }


def _median(metric: str, these: Sequence[Measured]) -> float:
    return statistics.median(METRICS[metric](measured) for measured in these)
