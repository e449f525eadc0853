"""Doing by hand, on plain connections, what a process of ours would do: branches and votes."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from paxcommit.drivers import choose_async
from paxcommit.ids import Ballot, Gid, TxId
from paxcommit.protocol.messages import AcceptorAnswer, Phase2a
from paxcommit.protocol.values import Instance, ParticipantSet, Value, Vote
from paxcommit.runtime.aio.run import run_statements
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.epoch import read_records
from paxcommit.sql.marks import Marks

from ..coordinator.shop import Shop

__all__ = ["digest_of", "in_flight", "new_txid", "prepare", "propose", "votes"]

_numbers = itertools.count(1)


def new_txid() -> TxId:
    """An id of a coordinator that nobody sees alive."""
    return TxId(1, secrets.randbits(63), next(_numbers))


def digest_of(shop: Shop) -> str:
    [[digest]] = shop.look("a1", "select digest from paxcommit.epoch")
    return str(digest)


@contextmanager
def in_flight(
    shop: Shop, name: str, txid: TxId, kind: str = "branch"
) -> Iterator[psycopg.Connection[Any]]:
    """A session that wrote the transaction's note and its branch row, and is still open."""
    with psycopg.connect(shop.place(name).dsn, autocommit=True) as session:
        session.execute("begin")
        session.execute("select set_config('paxcommit.txid', %s, true)", [str(txid)])
        session.execute("insert into note values (%s)", [str(txid)])
        session.execute(
            "select paxcommit.branch(%s, %s, %s, %s, %s, %s)",
            [digest_of(shop), txid.epoch, txid.coordinator, txid.seq, name, kind],
        )
        yield session


def prepare(shop: Shop, txid: TxId, *names: str, deadline: int = 600) -> None:
    """Prepare a branch at each of these participants."""
    for name in names:
        gid = Gid(digest_of(shop), txid, name, deadline)
        with in_flight(shop, name, txid) as session:
            session.execute(f"prepare transaction {gid.quoted}".encode())


def votes(*participants: str) -> dict[Instance, Value]:
    """What a coordinator proposes at ballot 0 for these participants."""
    chosen: dict[Instance, Value] = dict.fromkeys(participants, Vote.PREPARED)
    return {"*": ParticipantSet.of(participants), **chosen}


async def propose(
    shop: Shop,
    txid: TxId,
    values: Mapping[Instance, Value],
    acceptors: Sequence[str] = ("a1", "a2", "a3"),
) -> list[AcceptorAnswer]:
    """Send phase 2a of ballot 0 to acceptors; return their answers."""
    answers = []
    for name in acceptors:
        session = await choose_async("asyncpg").connect(shop.place(name).dsn, timeout=10)
        try:
            record = (await run_statements(session, read_records()))[-1]
            [identity] = [each.identity for each in record.acceptors if each.name == name]
            authority = Authority(name, identity, record.epoch, record.digest)
            request = Phase2a(txid, Ballot(0), values)
            answers += await run_statements(session, ask(authority, Marks(), [request]))
        finally:
            session.discard()
    return answers
