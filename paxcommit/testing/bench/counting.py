"""Exact counts per transaction, at one client: what no noise of the machine touches."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from paxcommit.errors import ClusterError
from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.job import Block, Blocked, Job
from paxcommit.testing.bench.stage import Stage
from paxcommit.testing.bench.tapping import ProxyThread, Tap
from paxcommit.testing.bench.worker import Worker

__all__ = ["Counts", "count"]

_BLOCK = 10
_WARM_BLOCKS = 2
_BLOCKS = 5
_PATIENCE = 10.0

_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Counts:
    """Per transaction, over all servers of a kind.

    Attributes:
        participant_round_trips, acceptor_round_trips, log_round_trips: A pipeline is one.
        participant_statements, acceptor_statements, log_statements: Top-level statements.
        participant_flushes, acceptor_flushes, log_flushes: Of WAL to disk, by clients.
        participant_wal_bytes, acceptor_wal_bytes, log_wal_bytes: About: full pages and the like
            add a little to some blocks.
    """

    participant_round_trips: float
    acceptor_round_trips: float
    log_round_trips: float
    participant_statements: float
    acceptor_statements: float
    log_statements: float
    participant_flushes: float
    acceptor_flushes: float
    log_flushes: float
    participant_wal_bytes: float
    acceptor_wal_bytes: float
    log_wal_bytes: float


@dataclass(frozen=True, slots=True)
class _Found:
    """Per block: what was counted by site and what, and bytes of WAL by server."""

    blocks: list[dict[tuple[str, str], int]]
    wal: list[dict[str, int]]


@dataclass(frozen=True, slots=True)
class _Site:
    kind: str
    name: str
    server: str


def count(stage: Stage, group: Group) -> Counts:
    """Count what a transaction of `group` costs.

    Transactions run one after the other, through a proxy that counts, in blocks; the median block
    is told, for what comes by the second and not by the transaction must not show.  Flushes are
    those of a whole run, less those of one that opens, commits once and closes: the first commit of
    a process asks more acceptors than the others do.

    Args:
        stage: `apart` and quiet.
        group: Any.
    """
    sites = _sites(stage, group)
    servers = {site.server: stage.servers[site.server] for site in sites}
    positions = [_flushes(servers)]
    transactions = _BLOCK * (_WARM_BLOCKS + _BLOCKS)
    if group.acceptors:  # a coordinator writes when it opens; pools do not
        transactions -= 1
        with Worker(stage.job(group)) as worker:
            worker.order(Block(1), Blocked)
    positions.append(_flushes(servers))
    found = _run(stage, group, sites)
    positions.append(_flushes(servers))
    opening, all_in_all = _growth(positions)

    def of(kind: str) -> list[_Site]:
        return [site for site in sites if site.kind == kind]

    def median(kind: str, what: str) -> float:
        medians = (
            statistics.median(block[site.name, what] for block in found.blocks) for site in of(kind)
        )
        return round(sum(medians) / _BLOCK, 3)

    def wal(kind: str) -> int:
        medians = (statistics.median(block[s.server] for block in found.wal) for s in of(kind))
        return round(sum(medians) / _BLOCK)

    kinds = ("participant", "acceptor", "log")
    flushes = {name: all_in_all[name] - opening[name] for name in servers}
    return Counts(
        *(median(kind, "round trips") for kind in kinds),
        *(median(kind, "statements") for kind in kinds),
        *(round(sum(flushes[s.server] for s in of(kind)) / transactions, 3) for kind in kinds),
        *(wal(kind) for kind in kinds),
    )


def _sites(stage: Stage, group: Group) -> Sequence[_Site]:
    """Who takes part, each on a server of its own."""
    servers = list(stage.servers)
    n = group.participants
    sites = [_Site("participant", f"p{at + 1}", servers[at]) for at in range(n)]
    first = len(stage.settings["participants"])
    if group.acceptors:
        acceptors = range(2 * group.failures + 1)
        sites += [_Site("acceptor", f"a{at + 1}", servers[first + at]) for at in acceptors]
    elif group.system == "logged-2pc":
        sites.append(_Site("log", "log", servers[-1]))
    return sites


def _run(stage: Stage, group: Group, sites: Sequence[_Site]) -> _Found:
    job = stage.job(group)
    dsns = {
        **dict(zip(job.settings["participants"], job.participants, strict=True)),
        **job.settings["acceptors"],
        "log": job.log,
    }
    servers = {site.server: stage.servers[site.server] for site in sites}
    with ProxyThread(dsns) as through:
        taps = {site.name: Tap() for site in sites}
        for name, tap in taps.items():
            through.apply(tap, name)
        with Worker(_through(job, through.dsns)) as worker:
            for _ in range(_WARM_BLOCKS):
                worker.order(Block(_BLOCK), Blocked)
            snapshots = [_snapshot(taps)]
            positions = [_positions(servers)]
            for _ in range(_BLOCKS):
                worker.order(Block(_BLOCK), Blocked)
                snapshots.append(_snapshot(taps))
                positions.append(_positions(servers))
    return _Found(_growth(snapshots), _growth(positions))


def _growth(told: Sequence[Mapping[_Key, int]]) -> list[dict[_Key, int]]:
    return [
        {key: after[key] - before[key] for key in after}
        for before, after in itertools.pairwise(told)
    ]


def _through(job: Job, dsns: Mapping[str, str]) -> Job:
    settings = {
        **job.settings,
        "participants": {name: dsns[name] for name in job.settings["participants"]},
        "acceptors": {name: dsns[name] for name in job.settings["acceptors"]},
    }
    return replace(
        job,
        settings=settings,
        participants=list(settings["participants"].values()),
        log=dsns["log"],
    )


def _snapshot(taps: Mapping[str, Tap]) -> dict[tuple[str, str], int]:
    """What was counted so far, once all is quiet: releases and late acceptors come after."""
    give_up = time.monotonic() + _PATIENCE
    while not all(tap.is_quiet for tap in taps.values()):
        if time.monotonic() > give_up:
            raise ClusterError("connections do not become idle after a block of transactions")
        time.sleep(0.01)
    return {
        (name, what): tap.counted[what]
        for name, tap in taps.items()
        for what in ("round trips", "statements")
    }


def _positions(servers: Mapping[str, str]) -> dict[str, int]:
    """Bytes of WAL that each server has ever written."""
    question = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text"
    return {name: int(admin_execute(dsn, question)[0][0]) for name, dsn in servers.items()}


def _flushes(servers: Mapping[str, str]) -> dict[str, int]:
    """How often clients have flushed WAL, once all of them have gone and said so; by server."""
    return {name: _flushes_at(dsn) for name, dsn in servers.items()}


def _flushes_at(dsn: str) -> int:
    give_up = time.monotonic() + _PATIENCE
    question = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    while admin_execute(dsn, question) != [(0,)]:
        if time.monotonic() > give_up:
            raise ClusterError("connections do not end after a run")
        time.sleep(0.01)
    (version,) = admin_execute(dsn, "SHOW server_version_num")[0]
    if int(version) >= 180000:
        question = (
            "SELECT coalesce(sum(fsyncs), 0)::bigint FROM pg_stat_io"
            " WHERE object = 'wal' AND backend_type = 'client backend'"
        )
    else:
        question = "SELECT wal_sync::bigint FROM pg_stat_wal"
    return int(admin_execute(dsn, question)[0][0])
