"""A process that sees to it that recovery finishes, and reads the truth off the databases.

It stays for a whole run, with connections of its own, so that whoever forks has none.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from paxcommit import AsyncRecovery, Settings, TxId
from paxcommit.errors import ClusterError

from .stage import Books

__all__ = ["Examiner", "Facts"]

_APPLICATION = "examiner"
_PATIENCE = 20.0

_ALIVE = f"""
    select count(*) from pg_stat_activity
    where datname = any($1) and application_name <> '{_APPLICATION}'
    and backend_type = 'client backend'
"""
_PREPARED = "select gid from pg_prepared_xacts where database = current_database()"
# A prepared transaction has no pid (trap 13).
_TRUTH = f"""
    select
        exists (select from entry where txid = $1),
        (select kind from paxcommit.branch
            where (epoch, coordinator, seq) = ($2::bigint, $3::bigint, $4::bigint)),
        (select string_agg(what, ', ') from paxcommit.damage where txid = $1),
        array({_PREPARED}),
        (select count(*) from pg_locks l join pg_database d on d.oid = l.database
            where d.datname = current_database() and l.pid is null)
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the databases say of one transaction, after recovery.

    Attributes:
        noted: The participants that show what it wrote.
        kinds: Per participant that has one, the kind of its branch row.
        damages: Per participant, the damage that is written down.
        prepared: What is still prepared anywhere, after all patience.
        locks: For every lock that a prepared transaction holds, where.
        outcome: What anybody who asks is told; None for a transaction without an id.
    """

    noted: list[str]
    kinds: dict[str, str]
    damages: dict[str, str]
    prepared: list[str]
    locks: list[str]
    outcome: str | None


class Examiner:
    """The other end: asks the process, which is forked at once, and waits for its answers.

    Args:
        books: What is examined.
    """

    def __init__(self, books: Books) -> None:
        ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                ours.close()
                asyncio.run(_serve(books, theirs))
            finally:
                os._exit(0)
        theirs.close()
        self._lines = ours.makefile("rw", encoding="utf-8")
        ours.close()

    def wait_until_gone(self) -> None:
        """Wait until every server has seen that the others' processes are gone (R26)."""
        self._ask("gone")

    def examine(self, txids: Sequence[str | None], *, force: bool) -> list[Facts]:
        """Let recovery finish, and look what became of each transaction."""
        return [Facts(**facts) for facts in self._ask("finish", txids, force)]

    def dismiss(self) -> None:
        """Tell it that no more questions come."""
        self._lines.close()

    def wait(self) -> None:
        """Wait until it has ended; those forked after it must be dismissed, too."""
        os.waitpid(self._pid, 0)

    def _ask(self, what: str, *arguments: object) -> Any:
        print(json.dumps([what, *arguments]), file=self._lines, flush=True)
        line = self._lines.readline()
        kind, answer = json.loads(line or '["failed", "the examiner is gone"]')
        if kind == "failed":
            raise ClusterError(f"the examiner failed: {answer}")
        return answer


async def _serve(books: Books, end: socket.socket) -> None:
    logging.disable()
    settings = books.options(_APPLICATION)
    reader, writer = await asyncio.open_connection(sock=end)
    async with AsyncRecovery.open(Settings(**settings), driver="asyncpg") as recovery:
        bench = _Bench(recovery)
        await bench.open(settings)
        while line := await reader.readline():
            what, *arguments = json.loads(line)
            work: Callable[..., Awaitable[Any]] = bench.gone if what == "gone" else bench.finish
            try:
                answer = ["answer", await work(*arguments)]
            except Exception as error:  # noqa: BLE001 - whoever asked wants to know
                answer = ["failed", repr(error)]
            writer.write((json.dumps(answer) + "\n").encode())
        for connection in bench.connections:
            connection.terminate()


class _Bench:
    def __init__(self, recovery: AsyncRecovery) -> None:
        self._recovery = recovery
        self._participants: dict[str, asyncpg.Connection[Any]] = {}
        self._servers: list[asyncpg.Connection[Any]] = []
        self._databases: list[str] = []

    @property
    def connections(self) -> list[asyncpg.Connection[Any]]:
        return list({*self._participants.values(), *self._servers})

    async def open(self, settings: dict[str, Any]) -> None:
        servers: dict[str, asyncpg.Connection[Any]] = {}
        for name, dsn in {**settings["participants"], **settings["acceptors"]}.items():
            address = urlsplit(dsn)
            self._databases.append(address.path[1:])
            if name in settings["participants"] or address.netloc not in servers:
                connection = await asyncpg.connect(dsn)
                servers.setdefault(address.netloc, connection)
                if name in settings["participants"]:
                    self._participants[name] = connection
        self._servers = list(servers.values())

    async def gone(self) -> None:
        give_up = time.monotonic() + _PATIENCE
        while any(await self._everywhere(self._servers, "fetchval", _ALIVE, self._databases)):
            if time.monotonic() > give_up:
                raise ClusterError("a backend of a dead process never ends")
            await _moment()

    async def finish(self, spelt: Sequence[str | None], force: bool) -> list[dict[str, Any]]:
        give_up = time.monotonic() + _PATIENCE
        txids = [TxId.parse(each) if each else None for each in spelt]
        if force:
            for txid in filter(None, txids):
                await self._recovery.resolve(txid, force=True)
        while await self._prepared() and time.monotonic() < give_up:
            await self._recovery.run_once()
        return [asdict(await self._look(txid)) for txid in txids]

    async def _look(self, txid: TxId | None) -> Facts:
        outcome = (await self._recovery.resolve(txid)).outcome if txid else None
        parts = (txid.epoch, txid.coordinator, txid.seq) if txid else (0, 0, 0)
        facts = Facts([], {}, {}, [], [], str(outcome) if outcome else None)
        connections = list(self._participants.values())
        found = await self._everywhere(connections, "fetchrow", _TRUTH, str(txid), *parts)
        for name, (noted, kind, damage, prepared, locks) in zip(
            self._participants, found, strict=True
        ):
            facts.prepared.extend(prepared)
            facts.locks.extend([name] * locks)
            if noted:
                facts.noted.append(name)
            if kind:
                facts.kinds[name] = kind
            if damage:
                facts.damages[name] = damage
        return facts

    async def _prepared(self) -> bool:
        connections = list(self._participants.values())
        return any(await self._everywhere(connections, "fetch", _PREPARED))

    async def _everywhere(
        self, connections: Sequence[asyncpg.Connection[Any]], how: str, sql: str, *args: object
    ) -> list[Any]:
        return await asyncio.gather(
            *(getattr(connection, how)(sql, *args) for connection in connections)
        )


async def _moment() -> None:
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.001)
