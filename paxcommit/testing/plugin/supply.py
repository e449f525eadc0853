"""Layouts for one test after the other, cheap: what can be used again is used again.

Making and dropping a database costs a server more than most tests do.  So participants' databases
are new for each test, copied from a template that has our schema, and dropped only once there are
many; acceptors' databases, where no test puts anything of its own, are emptied, and draw a new
identity for the next test: whatever a straggler still says to the old one is refused (R2, R13).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.ids import check_name
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.sql.schema import install
from paxcommit.testing.admin import admin_execute
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.layout import Layout, Place
from paxcommit.testing.plugin.recovering import on_a_thread
from paxcommit.testing.server import Server

__all__ = ["Supply"]

_numbers = itertools.count(1)

_TEMPLATE = "paxcommit_template"

_KEPT = 100
"""Used databases that lie about, some 8 MB each."""

_HUSH = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
"""

_EMPTY = """
do $$ declare name text; begin
    for name in select tablename from pg_tables
        where schemaname = 'paxcommit' and tablename not in ('meta', 'mark_stripe')
    loop execute format('delete from paxcommit.%I', name); end loop;
end $$
"""


class Supply:
    """Clusters and layouts for a whole test run.

    Args:
        make: Makes a cluster of so many servers, and starts it.
    """

    def __init__(self, make: Callable[[int], Cluster]) -> None:
        self._make = make
        self._clusters: dict[int, Cluster] = {}
        self._free: defaultdict[int, list[Mapping[str, Place]]] = defaultdict(list)
        self._used: deque[Place] = deque()
        # While the next test runs already.
        self._dropping = ThreadPoolExecutor(1, thread_name_prefix="paxcommit dropping")
        self._drops: list[Future[object]] = []

    def cluster(self, failures: int) -> Cluster:
        """A cluster on which so many acceptors may fail: of 2F+1 servers or more, perhaps new."""
        enough = [size for size in self._clusters if size >= failures]
        if enough:
            return self._clusters[min(enough)]
        cluster = self._clusters[failures] = self._make(2 * failures + 1)
        _make_templates(cluster.servers)
        return cluster

    def layout(self, *, participants: Sequence[str], failures: int, name: str = "test") -> Layout:
        """Make a layout with ``paxcommit init`` done.

        Args:
            participants: Their names.
            failures: F.
            name: Of the paxcommit cluster.

        Raises:
            ConfigurationError: A name is not allowed.
            DriverError: No driver with asyncio is installed.
        """
        number = next(_numbers)
        servers = self.cluster(failures).servers
        places = {
            check_name(each, "participant"): Place(servers[at % len(servers)], f"{each}_{number}")
            for at, each in enumerate(participants)
        }
        if self._free[failures]:
            acceptors = self._free[failures].pop()
            new = [*places.values()]
        else:
            acceptors = {
                f"a{at}": Place(server, f"paxcommit_{number}")
                for at, server in enumerate(servers[: 2 * failures + 1], 1)
            }
            new = [*acceptors.values(), *places.values()]
        _each_server(new, _create)
        layout = Layout(check_name(name, "cluster"), acceptors, places)
        settings = Settings(**layout.settings)
        on_a_thread(lambda: initialise(settings, choose_async()))
        return layout

    def give_back(self, layout: Layout) -> None:
        """Take a layout back: whoever is connected is cut off, whatever is prepared rolled back."""
        participants = [*layout.participant_places.values()]
        acceptors = [*layout.acceptor_places.values()]
        _each_server([*participants, *acceptors], _hush)
        _each_server(acceptors, _empty)
        self._free[len(acceptors) // 2].append(layout.acceptor_places)
        self._used.extend(participants)
        while len(self._used) > _KEPT:
            self._drops.append(self._dropping.submit(_drop, self._used.popleft()))

    def close(self) -> None:
        """End everything.

        Raises:
            Exception: A database could not be dropped; all is gone nevertheless.
        """
        self._dropping.shutdown(wait=True, cancel_futures=True)
        for cluster in self._clusters.values():
            cluster.close()
        for drop in self._drops:
            if not drop.cancelled():
                drop.result()


def _make_templates(servers: Sequence[Server]) -> None:
    dsns = [server.dsn(_TEMPLATE) for server in servers]

    async def migrate() -> None:
        await asyncio.gather(*map(_migrate, dsns))

    with ThreadPoolExecutor(len(servers)) as threads:
        list(threads.map(_create_template, servers))
    on_a_thread(migrate)


def _create_template(server: Server) -> None:
    server.execute(f"create database {_TEMPLATE} template template0")


async def _migrate(dsn: str) -> None:
    session = await choose_async().connect(dsn, timeout=30)
    try:
        await run_statements(session, install())
    finally:
        session.discard()


def _each_server(places: Iterable[Place], work: Callable[[Server, list[Place]], object]) -> None:
    by_server: dict[Server, list[Place]] = {}
    for place in places:
        by_server.setdefault(place.server, []).append(place)
    with ThreadPoolExecutor(len(by_server) or 1) as threads:
        list(threads.map(work, by_server.keys(), by_server.values()))


def _create(server: Server, places: list[Place]) -> None:
    strategy = " strategy wal_log" if server.version >= 15 else ""  # no checkpoint
    creations = [
        f'create database "{place.database}" template {_TEMPLATE}{strategy}' for place in places
    ]
    admin_execute(server.dsn(), *creations)


def _hush(_: Server, places: list[Place]) -> None:
    for place in places:
        gids = place.execute(
            _HUSH, "select gid from pg_prepared_xacts where database = current_database()"
        )
        if gids:
            place.execute(*("rollback prepared '" + gid.replace("'", "''") + "'" for [gid] in gids))


def _empty(_: Server, places: list[Place]) -> None:
    for place in places:
        place.execute(_EMPTY)


def _drop(place: Place) -> None:
    place.server.execute(f'drop database if exists "{place.database}" with (force)')
