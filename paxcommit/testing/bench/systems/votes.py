"""The acceptors of `floor`: what queues up while one call is in flight goes into the next.

One connection each, no link that heals itself, no time-out, no hedge: a measuring rod.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from paxcommit.errors import require
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.messages import Phase2a, Phase2b
from paxcommit.protocol.values import REGISTRAR, Instance, ParticipantSet, Value, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.marks import Marks
from paxcommit.sql.statement import Result, Statements

__all__ = ["Acceptor", "RowAcceptor", "run"]

_T = TypeVar("_T")


class Acceptor:
    """Votes as paxcommit sends them: one call of the acceptor's function, with all its checks.

    Args:
        connection: asyncpg's, of this acceptor alone.
        authority: Which acceptor it is.
        marks: Those that all acceptors of this process share.
        participants: J of every transaction.
    """

    def __init__(
        self, connection: Any, authority: Authority, marks: Marks, participants: Sequence[str]
    ) -> None:
        self.name = authority.acceptor
        self._connection = connection
        self._authority = authority
        self._marks = marks
        self._values: Mapping[Instance, Value] = {
            REGISTRAR: ParticipantSet.of(participants),
            **dict.fromkeys(participants, Vote.PREPARED),
        }
        self._queue: list[TxId] = []
        self._next: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work: asyncio.Task[None] | None = None

    def accept(self, txid: TxId) -> asyncio.Future[None]:
        """Vote Prepared for all participants; done once that is durable at this acceptor."""
        self._queue.append(txid)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._serve())
        return self._next

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def _serve(self) -> None:
        while self._queue:
            called, self._next = self._next, asyncio.get_running_loop().create_future()
            txids, self._queue = self._queue, []
            try:
                await self._call(txids)
            except Exception as error:  # noqa: BLE001 - every client that waits raises it
                called.set_exception(error)
            else:
                called.set_result(None)

    async def _call(self, txids: Sequence[TxId]) -> None:
        requests = [Phase2a(txid, Ballot(0), self._values) for txid in txids]
        answers = await run(self._connection, ask(self._authority, self._marks, requests))
        require(all(isinstance(each, Phase2b) for each in answers), f"refused: {answers}")


class RowAcceptor(Acceptor):
    """The same rows by one plain INSERT: no epoch, no mark, no promise is looked at."""

    async def _call(self, txids: Sequence[TxId]) -> None:
        votes = {instance: [0, value.spell()] for instance, value in self._values.items()}
        await self._connection.execute(
            "INSERT INTO paxcommit.transaction"
            " (epoch, coordinator, seq, promised, accepted, mark)"
            " SELECT $1::bigint, $2::bigint, seq, 0, $3::jsonb, 0 FROM unnest($4::bigint[]) AS seq",
            *(txids[0].epoch, txids[0].coordinator),
            json.dumps(votes),
            [txid.seq for txid in txids],
        )


async def run(connection: Any, statements: Statements[_T]) -> _T:
    """Run paxcommit's own statements, which give rows, on a connection of asyncpg's."""
    try:
        sql = next(statements)
        while True:
            rows = await connection.fetch(sql.text, *sql.args)
            sql = statements.send(Result(rows, ""))
    except StopIteration as ended:
        result: _T = ended.value
        return result
