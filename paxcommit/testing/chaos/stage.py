"""Where a run takes place: servers, databases, and a proxied way to each for every process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.errors import ClusterError
from paxcommit.ports import AsyncDriver, AsyncSession
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing._account import Account, remove_folder
from paxcommit.testing.bank.ledger import open_accounts
from paxcommit.testing.chaos.addresses import labelled, needs_own_name, redirected, upstream_of
from paxcommit.testing.chaos.plan import Plan
from paxcommit.testing.chaos.proxy import Proxy
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.layout import Layout
from paxcommit.testing.local import LocalServer
from paxcommit.testing.server import Server, Setting

__all__ = ["LABEL", "WITNESS", "Stage", "own_settings", "raise_stage"]

LABEL = "paxcommit-chaos"
"""What every connection of ours shows in ``pg_stat_activity``, before the process's name."""

WITNESS = "a3"
"""The acceptor of our own cluster whose server hosts no bank."""

_BANKS = ("bank_a", "bank_b")
_THIRD_BANK = "bank_c"
_SERVER_SETTINGS: Mapping[str, Setting] = {
    "max_connections": 80,
    "max_prepared_transactions": 40,
    "autovacuum": False,  # nothing lives long enough
    "wal_writer_delay": "2s",  # what nobody forces to be written is lost in a crash
    # One call per crash instead of one per file, of which a fresh server has a thousand.
    "recovery_init_sync_method": "syncfs",
}
# Short, so that a run of half a minute sees many of them run out.
_TIMES: Mapping[str, Any] = {
    "deadline": 1.5,
    "connect_timeout": 2.0,
    "acceptor_timeout": 1.0,
    "pool_size": 6,
    "recovery": {"poll_interval": 0.2},
}
_CONNECT_SECONDS = 5.0


@dataclass(slots=True)
class Stage:
    """See the module.

    Attributes:
        settings: Straight to the servers.
        driver: To connect with.
        driver_name: The one asked for; None for any.
        folder: For logs and settings' files.
        proxy: Every link of every process goes through it, but see `straight`.
        straight: Sites that cannot be reached through a proxy.
        servers: Per site, its server; none where they are the user's.
        old_copy: Of the data directory of `WITNESS`, if there is one.
        copying_took: Seconds for that.
    """

    settings: Settings
    driver: AsyncDriver
    driver_name: str | None
    folder: Path
    proxy: Proxy
    straight: frozenset[str]
    servers: Mapping[str, Server]
    old_copy: Path | None = None
    copying_took: float = 0.0

    async def keep_copy(self) -> None:
        """Copy what `WITNESS` holds now, for a fault to put back later."""
        server = self.servers[WITNESS]
        if isinstance(server, LocalServer):
            await asyncio.to_thread(server.stop)
            began = time.monotonic()
            self.old_copy = await asyncio.to_thread(server.copy_data_dir)
            self.copying_took = time.monotonic() - began
            await asyncio.to_thread(server.start)

    @property
    def banks(self) -> tuple[str, ...]:
        """The participants, sorted."""
        return tuple(sorted(self.settings.participants))

    @property
    def acceptors(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(self.settings.acceptors))

    def dsn(self, site: str) -> str:
        """Straight to the site; secret."""
        if site in self.settings.acceptors:
            return self.settings.acceptors[site].get_secret_value()
        return self.settings.participants[site].dsn.get_secret_value()

    @asynccontextmanager
    async def session(self, site: str) -> AsyncIterator[AsyncSession]:
        """Connect straight to a site, for the length of the block.

        Raises:
            DatabaseError, Unanswered: As the driver's ``connect``.
        """
        session = await self.connect(site, f"{LABEL}-judge")
        try:
            yield session
        finally:
            session.discard()

    async def connect(self, site: str, name: str) -> AsyncSession:
        """Connect straight to a site, showing `name` in ``pg_stat_activity``.

        Raises:
            DatabaseError, Unanswered: As the driver's ``connect``.
        """
        return await self.driver.connect(labelled(self.dsn(site), name), timeout=_CONNECT_SECONDS)

    async def rows(self, site: str, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own.

        Raises:
            DatabaseError, Unanswered: As the driver's.
        """
        async with self.session(site) as session:
            return [tuple(row) for row in (await session.execute(Sql(sql, arguments))).rows]

    async def config_for(self, process: str) -> Path:
        """Open a route to every site for a process, and write its settings' file."""
        target = self.folder / f"{process}.toml"
        target.touch(mode=0o600)
        target.write_text(_toml(self.settings, {s: await self._way(process, s) for s in self._all}))
        return target

    @property
    def _all(self) -> list[str]:
        return [*self.acceptors, *self.banks]

    async def _way(self, process: str, site: str) -> str:
        dsn = labelled(self.dsn(site), f"{LABEL}-{process}")
        if site in self.straight:
            return dsn
        route = await self.proxy.add(process, site, upstream_of(dsn))
        return redirected(dsn, route.port)


def _toml(settings: Settings, ways: Mapping[str, str]) -> str:
    lines = [f"cluster = {json.dumps(settings.cluster)}"]
    for name in ("deadline", "pool_size", "connect_timeout", "acceptor_timeout"):
        lines.append(f"{name} = {getattr(settings, name)}")
    lines += ["", "[recovery]", f"poll_interval = {settings.recovery.poll_interval}"]
    lines += ["", "[acceptors]"]
    lines += [f"{name} = {json.dumps(ways[name])}" for name in settings.acceptors]
    for name, participant in settings.participants.items():
        lines += ["", f"[participants.{name}]", f"dsn = {json.dumps(ways[name])}"]
        if participant.role is not None:
            lines.append(f"role = {json.dumps(participant.role)}")
    return "\n".join(lines) + "\n"


@contextmanager
def own_settings(plan: Plan) -> Iterator[tuple[Settings, Mapping[str, Server], Path]]:
    """Start servers, unless the plan has settings; blocks, and leaves nothing behind.

    Yields:
        Settings, servers by site, and a folder for logs.
    """
    folder = Account().make_folder("paxcommit-chaos-")
    try:
        if plan.config is not None:
            yield Settings.load(plan.config), {}, folder
            return
        with Cluster(3, settings=_SERVER_SETTINGS) as cluster:
            layout = Layout.create(cluster, participants=_BANKS, name="chaos")
            for place in layout.acceptor_places.values():
                # A vote has to be flushed all the same (trap 19), or a crash forgets it.
                place.execute(f"alter database {place.database} set synchronous_commit = off")
            first = layout.participant_places[_BANKS[0]].server
            first.execute(f"create database {_THIRD_BANK}")
            participants = {**layout.participants, _THIRD_BANK: first.dsn(_THIRD_BANK)}
            servers = {
                name: place.server
                for places in (layout.acceptor_places, layout.participant_places)
                for name, place in places.items()
            }
            values = {**layout.settings, "participants": participants, **_TIMES}
            yield Settings.load(values), {**servers, _THIRD_BANK: first}, folder
    finally:
        remove_folder(folder)


@asynccontextmanager
async def raise_stage(
    plan: Plan, settings: Settings, servers: Mapping[str, Server], folder: Path
) -> AsyncIterator[Stage]:
    """Make the cluster and the banks, unless they are there.

    Raises:
        PaxcommitError: See `initialise`.
    """
    driver = choose_async(plan.driver)
    if servers:
        await initialise(settings, driver)
    dsns = {name: each.get_secret_value() for name, each in settings.acceptors.items()}
    dsns |= {name: each.dsn.get_secret_value() for name, each in settings.participants.items()}
    straight = frozenset(name for name, dsn in dsns.items() if needs_own_name(dsn))
    async with Proxy() as proxy:
        stage = Stage(settings, driver, plan.driver, folder, proxy, straight, servers)
        for bank in stage.banks:
            try:
                async with stage.session(bank) as session:
                    await run_statements(session, open_accounts())
            except (DatabaseError, Unanswered) as error:
                raise ClusterError(f"no accounts can be opened at {bank}: {error}") from None
        yield stage
