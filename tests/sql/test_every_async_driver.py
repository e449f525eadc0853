"""The same generators on the async drivers; every other test here drives them over psycopg."""

from __future__ import annotations

import asyncio
import secrets
import uuid

import pytest

import paxcommit_asyncpg
import paxcommit_psycopg
from paxcommit.errors import IdentityMismatch
from paxcommit.ids import Gid, TxId
from paxcommit.ports import BeginOptions
from paxcommit.protocol.finishing import Applied, Damage
from paxcommit.protocol.messages import (
    Accepted,
    Learn,
    Learned,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
)
from paxcommit.protocol.resource_manager import No, OnlyCommitted, Prepared, WroteNothing
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.branch import commit_only, end_reader, open_branch, prepare_branch
from paxcommit.sql.epoch import AcceptorIdentity, EpochRecord, claim_identity, write_record
from paxcommit.sql.fencing import (
    Standing,
    backend_pid,
    fence_blockers,
    place_fence,
    terminate_blocker,
)
from paxcommit.sql.finish import commit_prepared, fence, prepared_branches, rollback_prepared
from paxcommit.sql.link import (
    RegisteredParticipant,
    Registration,
    hello,
    hold,
    holders,
    link_settings,
    register_participant,
    registered_participants,
)
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import (
    adopt_epoch,
    damages,
    participant_epochs,
    participant_identity,
    record_damage,
)
from paxcommit.sql.schema import check_schema, install
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered

BUNDLE = {REGISTRAR: ParticipantSet(("orders",)), "orders": Vote.PREPARED}


def pay(account):
    return Sql("UPDATE account SET balance = balance - 1 WHERE id = $1::int", (account,))


class Client:
    def __init__(self, session):
        self.session = session

    async def run(self, statements):
        try:
            sql = next(statements)
            while True:
                try:
                    result = await self.session.execute(sql)
                except (DatabaseError, Unanswered) as error:
                    sql = statements.throw(error)
                else:
                    sql = statements.send(result)
        except StopIteration as stop:
            return stop.value

    async def begin(self, txid, options=None):
        await self.session.begin(options or BeginOptions())
        await self.run(open_branch(txid))


@pytest.fixture(params=[paxcommit_asyncpg.driver, paxcommit_psycopg.driver], ids=lambda d: d.name)
async def connect(request, own_home):
    """Connections to a database without a schema."""
    own_home.admin("DROP SCHEMA paxcommit CASCADE")
    clients = []

    async def make():
        session = await request.param.aio.connect(own_home.place.dsn, timeout=10)
        clients.append(Client(session))
        return clients[-1]

    yield make
    for client in clients:
        await client.session.raw.close()


async def test_one_generator_runs_unchanged_on_every_driver(connect):
    client, other = await connect(), await connect()

    # An acceptor and a participant are set up.
    assert await client.run(install())
    assert not await client.run(install(["postgres"]))
    await client.run(check_schema())
    own = await client.run(claim_identity("a1"))
    others = [AcceptorIdentity(name, str(uuid.uuid4()), 1, "elsewhere") for name in ("a2", "a3")]
    record = EpochRecord(1, secrets.token_hex(16), "shop", (own, *others))
    assert await client.run(write_record(record)) == record
    standing = await client.run(adopt_epoch(1, record.digest, "orders"))
    assert await client.run(participant_epochs()) == (standing,)
    identity = await client.run(participant_identity())
    assert identity.database == own.database

    # A link is made and votes go over it.
    authority, marks = Authority("a1", own.identity, 1, record.digest), Marks()
    await client.run(link_settings())
    assert not (await client.run(hello(authority, marks))).lost_votes
    coordinator = 2**63 - 1
    await client.run(hold(coordinator))
    assert await other.run(holders(authority, [coordinator, 1])) == {coordinator}
    orders = RegisteredParticipant("orders", own.system_identifier, own.database)
    registered = await client.run(register_participant(authority, marks, orders))
    assert registered == (Registration.REGISTERED, "")
    assert await client.run(registered_participants(authority)) == (orders,)
    one, two = TxId(1, coordinator, 1), TxId(1, coordinator, 10**18 - 1)
    held = {instance: Accepted(0, value) for instance, value in BUNDLE.items()}
    requests = [Phase2a(one, 0, BUNDLE), Phase1a(one, 1), Learn(one), Phase2a(two, 3, BUNDLE)]
    assert await client.run(ask(authority, marks, requests)) == [
        Phase2b(one, "a1", 0, BUNDLE),
        Phase1b(one, "a1", 1, held),
        Learned(one, "a1", 1, held),
        Phase2b(two, "a1", 3, BUNDLE),
    ]
    assert (await other.run(hello(authority, marks))).mark == marks.of(own.identity) > 0
    wrong = Authority("a1", own.identity, 1, "0" * 32)
    with pytest.raises(IdentityMismatch):
        await client.run(ask(wrong, marks, [Learn(one)]))

    # Branches.
    gid, gid2 = Gid(record.digest, one, "orders", 5), Gid(record.digest, two, "orders", 5)
    for account, each in enumerate((gid, gid2), 1):
        await other.begin(each.txid)
        await other.session.execute(pay(account))
        assert await other.run(prepare_branch(each)) == Prepared()
        await other.session.settle()
    assert [branch.gid for branch in await client.run(prepared_branches())] == [gid, gid2]
    assert await client.run(place_fence(record.digest, one, "orders")) is Standing.BLOCKED
    assert await client.run(commit_prepared(gid)) == Applied()
    assert await client.run(commit_prepared(gid)) == Applied()
    assert await client.run(rollback_prepared(gid2)) == Applied()
    assert await client.run(fence(record.digest, two, "orders")) == Applied()
    lost = await client.run(commit_prepared(gid2))
    assert isinstance(lost, Damage)
    await client.run(record_damage(two, "orders", lost.what, lost.detail))
    assert (await client.run(damages()))[0].damage == lost
    pid = await client.run(backend_pid())
    assert await other.run(fence_blockers(pid)) == ()

    for declared in (True, False):
        three = TxId(1, coordinator, 3)
        await other.begin(three, BeginOptions("serializable", declared))
        reader = prepare_branch(Gid(record.digest, three, "orders", 5), declared_read_only=declared)
        assert await other.run(reader) == WroteNothing(serializable=True)
        assert await other.run(end_reader(three, commit=True)) is None
        await other.session.settle()
        assert not other.session.broken
    await other.begin(two)
    await other.session.execute(pay(3))
    assert isinstance(await other.run(prepare_branch(gid2)), No)
    await other.session.settle()
    four = TxId(1, coordinator, 4)
    await other.begin(four)
    await other.session.execute(pay(4))
    assert await other.run(commit_only(Gid(record.digest, four, "orders", 5))) == OnlyCommitted()
    await other.session.settle()
    assert await client.run(place_fence(record.digest, four, "orders")) is Standing.ONLY


async def test_blockers_on_every_driver(connect):
    client, late, fencer = await connect(), await connect(), await connect()
    await client.run(install())
    digest, txid = "d" * 32, TxId(1, 5, 1)
    await client.run(adopt_epoch(1, digest, "orders"))
    await late.begin(txid)
    await late.session.execute(pay(1))
    await late.session.execute(
        Sql(f"SELECT paxcommit.branch('{digest}', 1, 5, 1, 'orders', 'branch')")
    )
    pid = await fencer.run(backend_pid())
    fencing = asyncio.create_task(fencer.run(place_fence(digest, txid, "orders")))
    blockers = ()
    while not blockers and not fencing.done():
        blockers = await client.run(fence_blockers(pid))
        await asyncio.sleep(0)  # lets the fence be sent
    assert await client.run(terminate_blocker(pid, blockers[0]))
    assert await fencing is Standing.FENCE
