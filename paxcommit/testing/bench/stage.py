"""Where a run takes place: servers of our own, or those that the settings name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.errors import ConfigurationError
from paxcommit.settings import Settings
from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench import work
from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.job import Job
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.layout import Layout, Place
from paxcommit.testing.server import Server, Setting

__all__ = ["SERVER_SETTINGS", "Stage", "apart", "configured", "together"]

SERVER_SETTINGS: Mapping[str, Setting] = {
    "max_connections": 500,
    "max_prepared_transactions": 1200,
    "shared_buffers": "128MB",
    # No checkpoint but those that the benchmark asks for, before each measurement.
    "checkpoint_timeout": "1h",
    "max_wal_size": "8GB",
}
"""For the servers of our own; ``fsync`` and autovacuum are on, as everywhere."""

_QUIET: Mapping[str, Setting] = {
    # What flushes WAL by itself would be counted.
    "autovacuum": False,
    "wal_writer_delay": "10s",
    "bgwriter_delay": "10s",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """Databases with the tables of `work`, and initialised acceptors.

    Attributes:
        settings: As ``paxcommit.toml`` has it; all participants, most acceptors.
        by_failures: The same by F: a paxcommit cluster of its own each, on the same servers.
        log: DSN of the database for decision rows.
        servers: One superuser's DSN per server, to checkpoint and to count with.
        clients: The most clients there are rows for.
        cluster: The servers of our own, None if they are the user's.
    """

    settings: dict[str, Any]
    by_failures: Mapping[int, dict[str, Any]]
    log: str
    servers: dict[str, str]
    clients: int
    cluster: Cluster | None = None

    def job(self, group: Group, **changes: Any) -> Job:
        """What to tell a process that measures `group`; `changes` are to paxcommit's settings."""
        settings = self.by_failures.get(group.failures)
        if settings is None:
            raise ConfigurationError(
                f"F={group.failures} was asked, and the cluster has "
                f"{len(self.settings['acceptors'])} acceptors: it takes {2 * group.failures + 1}"
            )
        participants = dict(list(settings["participants"].items())[: group.participants])
        if len(participants) < group.participants:
            raise ConfigurationError(
                f"there are {len(participants)} participants, and N={group.participants} was asked"
            )
        # Twice as many as clients: with wait="decided" the last one's branches are still applied.
        size = 2 * self.clients
        return Job(
            driver=group.driver,
            system=group.system,
            participants=[_dsn(each) for each in participants.values()],
            log=self.log,
            settings={
                **settings,
                "participants": participants,
                "pool_size": size,
                "deadline": 60.0,
                **changes,
            },
            pool_size=size,
        )

    def checkpoint(self) -> None:
        """Let every measurement begin alike; where we may not, none of them does."""
        for dsn in self.servers.values():
            with contextlib.suppress(Exception):
                admin_execute(dsn, "CHECKPOINT")


@contextmanager
def together(
    *,
    participants: int,
    failures: int,
    clients: int,
    others: Sequence[int] = (),
    settings: Mapping[str, Setting] | None = None,
) -> Iterator[Stage]:
    """Participants and acceptors on the same 2F+1 servers (at least 3), in databases of their own.

    Args:
        participants, failures, clients: N, the largest F and the most clients.
        others: Smaller values of F.
        settings: Of the servers, beside `SERVER_SETTINGS`.
    """
    chosen = {**SERVER_SETTINGS, **(settings or {})}
    with Cluster(max(3, 2 * failures + 1), settings=chosen) as cluster:
        names = [f"p{number}" for number in range(1, participants + 1)]
        layouts = {
            f: Layout.create(
                cluster, participants=names, failures=f, name="bench", suffix=_suffix(f, failures)
            )
            for f in (failures, *others)
        }
        yield _made(cluster, layouts, clients)


@contextmanager
def apart(
    *,
    participants: int,
    failures: int,
    clients: int,
    others: Sequence[int] = (),
    quiet: bool = False,
) -> Iterator[Stage]:
    """Every participant and every acceptor on a server of its own.

    Args:
        participants, failures, clients: N, the largest F and the most clients.
        others: Smaller values of F.
        quiet: Whether nothing but clients may write WAL, so that it can be counted.
    """
    acceptors = 2 * failures + 1
    settings = {**SERVER_SETTINGS, **(_QUIET if quiet else {})}
    with Cluster(participants + acceptors, settings=settings) as cluster:
        layouts = {
            f: _apart(cluster.servers, participants, f, _suffix(f, failures))
            for f in (failures, *others)
        }
        yield _made(cluster, layouts, clients)


def _apart(servers: Sequence[Server], participants: int, failures: int, suffix: str) -> Layout:
    layout = Layout(
        cluster="bench",
        participant_places={
            f"p{at + 1}": Place(servers[at], f"p{at + 1}{suffix}") for at in range(participants)
        },
        acceptor_places={
            f"a{at + 1}": Place(servers[participants + at], f"paxcommit{suffix}")
            for at in range(2 * failures + 1)
        },
    )
    for place in (*layout.participant_places.values(), *layout.acceptor_places.values()):
        place.server.execute(f'create database "{place.database}"')
    return layout


def _suffix(failures: int, largest: int) -> str:
    return "" if failures == largest else f"_f{failures}"


@contextmanager
def configured(settings: Settings, *, clients: int) -> Iterator[Stage]:
    """The user's servers; ``paxcommit init`` was run.  Tables are made there, and removed."""
    participants = {
        name: {"dsn": each.dsn.get_secret_value(), "role": each.role}
        for name, each in settings.participants.items()
    }
    acceptors = {name: dsn.get_secret_value() for name, dsn in settings.acceptors.items()}
    dsns = [_dsn(each) for each in participants.values()]
    servers = {settings.acceptor_address(name).server: dsn for name, dsn in acceptors.items()}
    servers |= {settings.participant_address(n).server: _dsn(p) for n, p in participants.items()}
    told = {
        "cluster": settings.cluster,
        "acceptors": acceptors,
        "participants": participants,
    }
    try:
        _make_tables(dsns, dsns[0], clients)
        yield Stage(
            settings=told,
            by_failures={len(acceptors) // 2: told},
            log=dsns[0],
            servers=servers,
            clients=clients,
        )
    finally:
        for dsn in dsns:
            _clean(dsn)


def _made(cluster: Cluster, layouts: Mapping[int, Layout], clients: int) -> Stage:
    last = cluster.servers[-1]
    last.execute("create database decisions")
    for layout in layouts.values():
        asyncio.run(initialise(Settings.load(layout.settings), choose_async(None)))
        _make_tables(list(layout.participants.values()), last.dsn("decisions"), clients)
    return Stage(
        settings=layouts[max(layouts)].settings,
        by_failures={f: layout.settings for f, layout in layouts.items()},
        log=last.dsn("decisions"),
        servers={server.name: server.dsn() for server in cluster.servers},
        clients=clients,
        cluster=cluster,
    )


def _make_tables(participants: Sequence[str], log: str, clients: int) -> None:
    for dsn in participants:
        admin_execute(
            dsn, work.CREATE_ROWS, work.fill_rows(clients), f"VACUUM ANALYZE {work.TABLE}"
        )
    admin_execute(log, work.CREATE_DECISIONS)


def _clean(dsn: str) -> None:
    """Leave nothing on the user's servers, not even what a process that died left prepared."""
    mine = admin_execute(
        dsn,
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        f" AND gid LIKE '{work.PREFIX}%'",
    )
    admin_execute(dsn, *(f"ROLLBACK PREPARED '{gid}'" for (gid,) in mine), *work.DROP)


def _dsn(participant: Any) -> str:
    return str(participant["dsn"] if isinstance(participant, dict) else participant)
