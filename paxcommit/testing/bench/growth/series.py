"""The four series, each on servers of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeAlias

from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench.cells import Cell, Group
from paxcommit.testing.bench.counting import count
from paxcommit.testing.bench.growth.filling import fill_acceptor
from paxcommit.testing.bench.growth.sizes import Sizes
from paxcommit.testing.bench.job import Doubt, Doubted
from paxcommit.testing.bench.measuring import Measurements, Schedule, measure
from paxcommit.testing.bench.reckoning import METRICS, median_ratio, medians
from paxcommit.testing.bench.recovering import kill_and_watch, recoverer
from paxcommit.testing.bench.stage import Stage, apart, together
from paxcommit.testing.bench.work import ROWS_EACH
from paxcommit.testing.bench.worker import Worker

__all__ = ["by_backlog", "by_failures", "by_participants", "by_rows", "counts"]

Point: TypeAlias = dict[str, Any]
Tell: TypeAlias = Callable[[str], None]

_SYSTEMS = ("bare", "paxcommit-applied", "paxcommit-decided")
_CONNECTIONS = 16


def by_participants(driver: str, sizes: Sizes, schedule: Schedule, tell: Tell) -> list[Point]:
    """What N costs, with F=1, beside the bare driver with the same N."""
    points = []
    with together(
        participants=max(sizes.participants), failures=1, clients=max(sizes.clients)
    ) as stage:
        groups = [Group(driver, system, n) for n in sizes.participants for system in _SYSTEMS]
        found = measure(stage, groups, sizes.clients, schedule, tell)
        for n in sizes.participants:
            for clients in sizes.clients:
                points += _points(found, driver, {"participants": n, "failures": 1}, clients)
    return points


def by_failures(driver: str, sizes: Sizes, schedule: Schedule, tell: Tell) -> list[Point]:
    """What F costs, with N=2, beside the bare driver on the same servers."""
    points = []
    for f in sizes.failures:
        with together(participants=2, failures=f, clients=max(sizes.clients)) as stage:
            groups = [Group(driver, system, 2, f) for system in _SYSTEMS]
            found = measure(stage, groups, sizes.clients, schedule, tell)
            for clients in sizes.clients:
                points += _points(found, driver, {"participants": 2, "failures": f}, clients)
    return points


def by_backlog(driver: str, sizes: Sizes, schedule: Schedule, tell: Tell) -> list[Point]:
    """What transactions in doubt cost: a new commit beside them, and their recovery.

    Their coordinator lives, stopped half way, while new commits are measured, so that nobody
    finishes them; then it is killed, and a recoverer does.
    """
    points: list[Point] = []
    clients, largest = sizes.clients[0], max(sizes.backlogs)
    with together(
        participants=2,
        failures=1,
        clients=clients + -(-largest // ROWS_EACH),
        settings={"max_prepared_transactions": largest + 1000},
    ) as stage:
        for backlog in sizes.backlogs:
            tell(f"{backlog} transactions in doubt")
            # Rows that the clients who are measured do not use.
            doubt = Doubt(backlog, _CONNECTIONS, first_row=clients * ROWS_EACH)
            with _in_doubt(stage, driver, doubt) as worker:
                found = measure(
                    stage,
                    [Group(driver, system) for system in _SYSTEMS],
                    [clients],
                    schedule,
                    tell,
                )
                here = _points(found, driver, {"backlog": backlog}, clients)
                if worker is not None:
                    here[0]["recovered_in_seconds"] = _recover(stage, driver, worker)
            points += here
    return points


@contextmanager
def _in_doubt(stage: Stage, driver: str, doubt: Doubt) -> Iterator[Worker | None]:
    if doubt.transactions == 0:
        yield None
        return
    with Worker(stage.job(Group(driver, "paxcommit-applied")), "doubt_main") as worker:
        worker.order(doubt, Doubted)
        yield worker


def _recover(stage: Stage, driver: str, worker: Worker) -> float:
    dsns = list(stage.settings["participants"].values())
    with recoverer(stage, driver):
        return round(asyncio.run(kill_and_watch(worker, dsns, driver)), 3)


def by_rows(driver: str, sizes: Sizes, schedule: Schedule, tell: Tell) -> list[Point]:
    """What the transactions of the past cost, which acceptors keep until their epoch ends."""
    points = []
    with together(participants=2, failures=1, clients=max(sizes.clients)) as stage:
        acceptors = list(stage.settings["acceptors"].values())
        filled = 0
        for rows in sizes.rows:
            if rows > filled:
                tell(f"filling every acceptor's table up to {rows:,} rows")
                fill = functools.partial(fill_acceptor, first=filled + 1, last=rows)
                with ThreadPoolExecutor(len(acceptors)) as threads:
                    list(threads.map(fill, acceptors))
                filled = rows
            groups = [Group(driver, system) for system in _SYSTEMS]
            found = measure(stage, groups, sizes.clients[:1], schedule, tell)
            heap, index = admin_execute(
                acceptors[0],
                "SELECT pg_table_size('paxcommit.transaction'),"
                " pg_indexes_size('paxcommit.transaction')",
            )[0]
            here = _points(found, driver, {"rows": rows}, sizes.clients[0])
            for each in here:
                each |= {"heap_bytes": int(heap), "index_bytes": int(index)}
            points += here
    return points


def counts(driver: str, sizes: Sizes, tell: Tell) -> list[Point]:
    """Exact counts per transaction, by N and by F."""
    wanted = [(n, 1) for n in sizes.counted_participants]
    wanted += [(2, f) for f in sizes.counted_failures if (2, f) not in wanted]
    points = []
    for f in sorted({f for _, f in wanted}):
        numbers = [n for n, wanted_f in wanted if wanted_f == f]
        tell(f"counting, with F={f}")
        with apart(participants=max(numbers), failures=f, clients=1, quiet=True) as stage:
            for n in numbers:
                found = asdict(count(stage, Group(driver, "paxcommit-applied", n, f)))
                points.append({"participants": n, "failures": f} | found)
    return points


def _points(found: Measurements, driver: str, where: Point, clients: int) -> list[Point]:
    """One point per system, beside the bare driver's in the same place."""
    n, f = where.get("participants", 2), where.get("failures", 1)

    def measured(system: str) -> Sequence[Any]:
        return found.cells[Cell(Group(driver, system, n, f), clients)]

    bare = measured("bare")
    return [
        {
            **where,
            "clients": clients,
            "system": system,
            **medians(measured(system)),
            "vs_bare": {name: median_ratio(name, measured(system), bare) for name in METRICS},
        }
        for system in _SYSTEMS
    ]
