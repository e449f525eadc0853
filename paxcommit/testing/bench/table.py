"""The result as tables for a person."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from paxcommit.testing.bench.cells import FLOORS, SYSTEMS
from paxcommit.testing.bench.job import Measured
from paxcommit.testing.bench.reckoning import TARGETS, summary
from paxcommit.testing.bench.run import Result, spell

__all__ = ["tabulate"]

_ORDER = [*SYSTEMS, *FLOORS]


def tabulate(result: Result) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [_heading(result), *_cells(result)]
    if result.counts:
        parts.append(_counts(result))
    if result.profile is not None:
        parts += _profile(result.profile)
    first = result.plan.drivers[0]
    if result.ratios[first]:
        parts.append(_targets(first, result.ratios[first], result.floors))
    return Lines(*parts)


def _heading(result: Result) -> Text:
    return Text(
        f"Medians of {result.plan.schedule.repetitions} repetitions of "
        f"{result.plan.schedule.seconds:g} s; x: times the bare driver's.  "
        f"PostgreSQL {result.server}, {', '.join(sorted(set(result.measurements.loops.values())))}."
    )


def _cells(result: Result) -> Iterator[Table]:
    several = len(result.plan.failures) > 1
    rows = sorted(summary(result.measurements), key=_position)
    for (driver, n, clients), block in itertools.groupby(rows, key=lambda row: _position(row)[:3]):
        noun = "client" if clients == 1 else "clients"
        table = Table(
            title=f"{driver}, N={n}, {clients} {noun}", title_justify="left", box=SIMPLE_HEAD
        )
        table.add_column("system")
        for name in ("tx/s", "x", "p50 ms", "x", "p99 ms", "x", "CPU ms", "x"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in block:
            versus = row["vs_bare"]
            tail = f", F={row['failures']}" if several and row["failures"] else ""
            table.add_row(
                row["system"] + tail,
                f"{row['transactions_per_second']:.0f}",
                _times(versus["throughput"]),
                f"{row['commit_p50_ms']:.1f}",
                _times(versus["p50"]),
                f"{row['commit_p99_ms']:.1f}",
                _times(versus["p99"]),
                f"{row['client_cpu_ms']:.2f}",
                _times(versus["cpu"]),
            )
        yield table


def _position(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["driver"],
        row["participants"],
        row["clients"],
        _ORDER.index(row["system"]),
        row["failures"] or 0,
    )


def _counts(result: Result) -> Table:
    table = Table(
        title="Per transaction, exactly: participants + acceptors + log",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("system")
    for name in ("round trips", "statements", "WAL flushes", "WAL bytes, about"):
        table.add_column(name, justify="right", no_wrap=True)
    for group, counts in result.counts.items():
        fields = asdict(counts)
        table.add_row(
            spell(group),
            *(
                _sum(fields[f"{kind}_{what}"] for kind in ("participant", "acceptor", "log"))
                for what in ("round_trips", "statements", "flushes", "wal_bytes")
            ),
        )
    return table


def _targets(driver: str, ratios: dict[str, float], floors: dict[str, dict[str, float]]) -> Table:
    table = Table(
        title=f"Ratios on {driver}, and what they should be", title_justify="left", box=SIMPLE_HEAD
    )
    for name in ("ratio", "measured", *floors, "target", ""):
        table.add_column(name, justify="left" if name in ("ratio", "") else "right")
    for target in TARGETS:
        if target.name in ratios:
            met = target.is_met(ratios[target.name])
            table.add_row(
                target.name,
                f"{ratios[target.name]:.2f}",
                *(_times(floor.get(target.name)) for floor in floors.values()),
                f"{'>=' if target.at_least else '<='} {target.limit:g}",
                Text("met", style="green") if met else Text("not met", style="yellow"),
            )
    return table


def _profile(measured: Measured) -> Iterator[Table]:
    where = "Where the client's CPU goes, paxcommit-applied (under a profiler)"
    table = _table(f"{where}: the worst functions")
    for name in ("function", "itself", "with what it calls"):
        table.add_column(name, justify="left" if name == "function" else "right")
    for function, own, full in measured.profile:
        table.add_row(Text(function), f"{own:.1%}", f"{full:.1%}")
    yield table
    table = _table("The same by package")
    table.add_column("package")
    table.add_column("share", justify="right")
    for package, share in measured.packages:
        table.add_row(Text(package), f"{share:.1%}")
    yield table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _sum(parts: Iterable[float]) -> str:
    shown = [part for part in parts if part]
    return " + ".join(f"{part:g}" for part in shown)
