"""Floors: what the protocol demands of the servers, from a client that costs almost nothing.

They send the very strings that paxcommit sends, or the cheapest ones that leave the same durable
facts, and do nothing else: no Paxos machine, no error handling, no recovery, no lock that shows
that they live.  They are UNSAFE, a measuring rod only: one that dies or meets a recoverer
half-commits.  On asyncpg, and on servers of the benchmark's own (docs/performance.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, ClassVar

from paxcommit.ids import Gid, Incarnation, TxId
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.branch import mark, prepare_branch
from paxcommit.sql.cleaning import CLEAN_APART
from paxcommit.sql.epoch import read_records
from paxcommit.sql.marks import Marks
from paxcommit.testing.bench.job import Job
from paxcommit.testing.bench.systems.votes import Acceptor, RowAcceptor, run
from paxcommit.testing.bench.work import TABLE

__all__ = ["DEADLINE", "Branches", "Floor", "Rows", "Votes", "work"]

_UPDATE = f"UPDATE {TABLE} SET value = value + 1 WHERE id = $1"
DEADLINE = 60
"""Seconds, as a gid has them."""


async def _later(connection: Any) -> None:
    """As in paxcommit's pool: with the next user's BEGIN."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A participant: its name, its pool, and who is to own its gids."""

    name: str
    pool: Any
    owner: str


class Floor:
    """Branch rows and votes exactly as paxcommit sends them.

    Args:
        job: Names databases, and the system: if it ends in ``-decided``, a commit ends once F+1
            acceptors have accepted, and the rest goes on behind.
    """

    acceptor: ClassVar[type[Acceptor]] = Acceptor
    cleans_late: ClassVar[bool] = True
    """Whether a connection is cleaned as by paxcommit's pool, else as by the driver's."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ends_early = job.system.endswith("-decided")
        self._incarnation = Incarnation(epoch=1)
        self._sites: list[_Site] = []
        self._acceptors: list[Acceptor] = []
        self._behind: set[asyncio.Task[None]] = set()

    # --- what floors differ in ------------------------------------------------------------------

    def begin(self, txid: TxId) -> str:
        """What begins a branch."""
        return f"{CLEAN_APART.text}; BEGIN;{mark(txid).text}"

    def prepare(self, gid: Gid, owner: str) -> str:
        """What prepares it."""
        return next(prepare_branch(gid, owner)).text

    async def decide(self, txid: TxId) -> None:
        """What makes it decided."""
        for accepted in [acceptor.accept(txid) for acceptor in self._acceptors]:
            await accepted

    # --- see AsyncSystem ------------------------------------------------------------------------

    async def open(self) -> None:
        """See `AsyncSystem.open`."""
        import asyncpg

        self._loop = asyncio.get_running_loop()
        names = list(self._job.settings["participants"])
        for name, dsn in zip(names, self._job.participants, strict=True):
            pool = await asyncpg.create_pool(
                dsn,
                min_size=0,
                max_size=self._job.pool_size,
                reset=_later if self.cleans_late else None,
            )
            self._sites.append(_Site(name, pool, await pool.fetchval("SELECT current_user")))
        acceptors = self._job.settings["acceptors"]
        quorum = sorted(acceptors)[: len(acceptors) // 2 + 1]
        connections = {name: await asyncpg.connect(acceptors[name]) for name in quorum}
        self._record = (await run(connections[quorum[0]], read_records()))[-1]
        identities = {each.name: each.identity for each in self._record.acceptors}
        marks = Marks()
        for name, connection in connections.items():
            authority = Authority(name, identities[name], self._record.epoch, self._record.digest)
            self._acceptors.append(self.acceptor(connection, authority, marks, names))

    async def transact(self, row: int) -> float:
        """See `AsyncSystem.transact`."""
        txid = self._incarnation.next_txid()
        opening = self.begin(txid)
        connections = await asyncio.gather(*(work(site.pool, opening, row) for site in self._sites))
        began = perf_counter()
        gids = [Gid(self._record.digest, txid, site.name, DEADLINE) for site in self._sites]
        owners = (site.owner for site in self._sites)
        await _everywhere(connections, map(self.prepare, gids, owners))
        await self.decide(txid)
        if self._ends_early:
            took = perf_counter() - began
            self._go_on_behind(self._apply(connections, gids))
        else:
            await _everywhere(connections, map(_commit, gids))
            took = perf_counter() - began
            await self._release(connections)
        return took

    async def close(self) -> None:
        """See `AsyncSystem.close`."""
        await asyncio.gather(*self._behind)
        for site in self._sites:
            await site.pool.close()
        for acceptor in self._acceptors:
            await acceptor.close()

    def _go_on_behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)
        return task

    async def _apply(self, connections: Sequence[Any], gids: Sequence[Gid]) -> None:
        await _everywhere(connections, map(_commit, gids))
        await self._release(connections)

    async def _release(self, connections: Sequence[Any]) -> None:
        await asyncio.gather(
            *(site.pool.release(each) for site, each in zip(self._sites, connections, strict=True))
        )


class Rows(Floor):
    """The same durable facts by the cheapest SQL: plain INSERTs, nothing checked or marked."""

    acceptor = RowAcceptor
    cleans_late = False

    def begin(self, txid: TxId) -> str:
        """See `Floor.begin`."""
        return "BEGIN"

    def prepare(self, gid: Gid, owner: str) -> str:
        """See `Floor.prepare`."""
        txid = gid.txid
        return (
            "INSERT INTO paxcommit.branch (epoch, coordinator, seq, participant, kind) VALUES"
            f" ({txid.epoch}, {txid.coordinator}, {txid.seq}, '{gid.participant}', 'branch');"
            f" PREPARE TRANSACTION {gid.quoted}"
        )


class Votes(Floor):
    """The real votes; all else is as with the bare driver."""

    cleans_late = False

    def begin(self, txid: TxId) -> str:
        """See `Floor.begin`."""
        return "BEGIN"

    def prepare(self, gid: Gid, owner: str) -> str:
        """See `Floor.prepare`."""
        return f"PREPARE TRANSACTION {gid.quoted}"


class Branches(Floor):
    """All that `Floor` sends to participants; nobody votes."""

    async def decide(self, txid: TxId) -> None:
        """See `Floor.decide`."""


async def work(pool: Any, opening: str, row: int) -> Any:
    """The application's part at one participant; returns the connection."""
    connection = await pool.acquire()
    await connection.execute(opening)
    await connection.execute(_UPDATE, row)
    return connection


async def _everywhere(connections: Sequence[Any], texts: Iterable[str]) -> None:
    await asyncio.gather(
        *(each.execute(text) for each, text in zip(connections, texts, strict=True))
    )


def _commit(gid: Gid) -> str:
    return f"COMMIT PREPARED {gid.quoted}"
