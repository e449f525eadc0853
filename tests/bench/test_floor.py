"""That floors are fair rods: they send what paxcommit sends, or leave the rows that it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from functools import cache
from typing import Any, TypeAlias

import pytest

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Incarnation, TxId
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.marks import Marks
from paxcommit.testing.admin import admin_execute
from paxcommit.testing.bench.cells import FLOORS, Group
from paxcommit.testing.bench.counting import count
from paxcommit.testing.bench.job import Block, Blocked
from paxcommit.testing.bench.stage import Stage, apart
from paxcommit.testing.bench.systems.votes import Acceptor, RowAcceptor
from paxcommit.testing.bench.worker import Worker

Counted: TypeAlias = Callable[[str], tuple[float, ...]]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with apart(participants=2, failures=1, clients=1, quiet=True) as made:
        yield made


@pytest.fixture(scope="module")
def counted(stage: Stage) -> Counted:
    """Round trips, statements and flushes: each at participants, acceptors and the decision log."""

    @cache
    def of(system: str) -> tuple[float, ...]:
        # A hedge now and then is a flush more; the rest is exact.
        return tuple(map(round, astuple(count(stage, Group("asyncpg", system)))[:9]))

    return of


@pytest.mark.parametrize(
    ("floor", "wait"),
    [
        ("floor", "applied"),
        ("floor-led", "applied"),
        ("floor-decided", "decided"),
        ("floor-led-decided", "decided"),
    ],
)
def test_the_floor_costs_the_servers_exactly_what_paxcommit_does(
    counted: Counted, floor: str, wait: str
) -> None:
    assert counted(floor) == counted(f"paxcommit-{wait}")


@pytest.mark.parametrize("system", ["floor-rows", "floor-rows-decided"])
def test_plain_rows_are_one_statement_per_participant_and_one_per_acceptor(
    counted: Counted, system: str
) -> None:
    trips, statements, flushes = (10, 2, 0), (16 + 2, 2, 0), (4, 2, 0)
    assert counted(system) == (*trips, *statements, *flushes)


def test_the_two_shares_are_those_of_the_whole(counted: Counted) -> None:
    bare, whole = counted("bare"), counted("floor")
    votes, branches = counted("floor-votes"), counted("floor-branches")
    for what in range(0, 9, 3):  # at participants, then at acceptors
        assert votes[what : what + 2] == (bare[what], whole[what + 1])
        assert branches[what : what + 2] == (whole[what], 0)


def test_every_floor_leaves_the_rows_that_paxcommit_leaves(stage: Stage) -> None:
    def rows() -> tuple[Any, ...]:
        """What stands there since the last look, but for ids, times and marks."""
        at_participant = "DELETE FROM paxcommit.branch RETURNING epoch, participant, kind"
        at_acceptor = "DELETE FROM paxcommit.transaction RETURNING epoch, promised, accepted::text"
        return (
            admin_execute(stage.settings["participants"]["p2"], at_participant),
            admin_execute(stage.settings["acceptors"]["a2"], at_acceptor),
        )

    found = {}
    rows()
    for system in ("paxcommit-applied", *FLOORS):
        with Worker(stage.job(Group("asyncpg", system))) as worker:
            worker.order(Block(3), Blocked)
        found[system] = rows()
    branches, votes = whole = found.pop("paxcommit-applied")
    assert len(branches) == len(votes) == 3
    assert found.pop("floor-votes") == ([], votes)
    assert found.pop("floor-branches") == (branches, [])
    assert all(each == whole for each in found.values())


class Server:
    """Stands for asyncpg's connection; answers when it is told to."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[Sequence[int]] = asyncio.Queue()
        self.answers: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def execute(self, text: str, *args: Any) -> None:
        self.calls.put_nowait(args[-1])
        if (error := await self.answers.get()) is not None:
            raise error

    async def fetch(self, text: str, *args: Any) -> list[tuple[Any, ...]]:
        *_, coordinators, seqs, _, _ = args
        return [(*key, "outbid", 1, "{}", 1) for key in zip(coordinators, seqs, strict=True)]


def asked(kind: type[Acceptor], server: Server) -> tuple[Acceptor, list[TxId]]:
    authority = Authority("a1", "00000000-0000-0000-0000-000000000000", 1, "0" * 32)
    incarnation = Incarnation(epoch=1)
    return kind(server, authority, Marks(), ["p1", "p2"]), [
        incarnation.next_txid() for _ in range(4)
    ]


async def test_what_queues_up_while_a_call_is_in_flight_goes_into_the_next() -> None:
    server = Server()
    acceptor, (first, *others) = asked(RowAcceptor, server)
    before = acceptor.accept(first)
    assert await server.calls.get() == [1]
    after = [acceptor.accept(txid) for txid in others]
    server.answers.put_nowait(None)
    await before
    assert not any(each.done() for each in after)
    server.answers.put_nowait(None)
    await asyncio.gather(*after)
    assert await server.calls.get() == [2, 3, 4]
    assert server.calls.empty()


async def test_a_call_that_fails_fails_for_everybody_who_waits() -> None:
    server = Server()
    acceptor, (first, second, third, _) = asked(RowAcceptor, server)
    waiting = [acceptor.accept(first), acceptor.accept(second)]
    server.answers.put_nowait(OSError("gone"))
    for each in waiting:
        with pytest.raises(OSError, match="gone"):
            await each
    server.answers.put_nowait(None)
    await acceptor.accept(third)


async def test_a_refusal_is_not_measured_as_a_vote() -> None:
    acceptor, (first, *_) = asked(Acceptor, Server())
    with pytest.raises(InvariantViolation, match="refused"):
        await acceptor.accept(first)
