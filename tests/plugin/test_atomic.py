"""`assert_atomic` on real servers: what it lets pass, what it finds, and what it says of it."""

from __future__ import annotations

import pytest

from paxcommit import (
    AsyncCoordinator,
    ConfigurationError,
    Coordinator,
    NotEnoughAcceptors,
    Outcome,
    OutcomeUnknown,
    Settings,
    TxId,
    UsageError,
)
from paxcommit.testing import Layout, NotAtomic, commit_steps, recover, unreachable
from paxcommit.testing import assert_atomic as assert_atomic_of

from ..coordinator.shop import ends_in

BOTH = ["orders", "billing"]
NOTED = dict.fromkeys(BOTH, "select 1 from note")


@pytest.fixture
def noted(paxcommit_layout: Layout) -> Layout:
    for name in BOTH:
        paxcommit_layout.place(name).execute("create table note (text text)")
    return paxcommit_layout


def write(settings: Settings, *names: str, deadline: float = 600.0) -> str:
    """On threads and psycopg; the example service does it on asyncpg."""
    with Coordinator.open(settings) as coordinator:
        with coordinator.transaction(deadline=deadline) as tx:
            for name in names:
                tx.connection(name).execute("insert into note values ('x')")
        return str(tx.id)


def gid_of(layout: Layout, name: str) -> str:
    [gid] = layout.place(name).prepared()
    return gid


def test_committed_and_aborted_pass(noted, paxcommit_settings, assert_atomic) -> None:
    txid = TxId.parse(write(paxcommit_settings, *BOTH))
    found = assert_atomic(txid, NOTED)
    assert (found.outcome, found.there) == (Outcome.COMMITTED, True)
    assert assert_atomic().outcomes == {txid: Outcome.COMMITTED}
    never = TxId(1, 5, 5)
    with pytest.raises(NotAtomic, match="aborted, and its effects are there"):
        assert_atomic(never, NOTED)
    assert assert_atomic(str(never)).outcome is Outcome.ABORTED
    assert assert_atomic().outcomes == {txid: Outcome.COMMITTED, never: Outcome.ABORTED}
    with pytest.raises(ConfigurationError, match="2 transactions, not one"):
        _ = assert_atomic().outcome
    with pytest.raises(ConfigurationError, match="no effects"):
        _ = assert_atomic().there


def test_one_phase_passes(noted, paxcommit_settings, assert_atomic) -> None:
    txid = write(paxcommit_settings, "orders")
    found = assert_atomic(txid, {"orders": NOTED["orders"]})
    assert (found.outcome, found.there) == (Outcome.COMMITTED, True)


@pytest.mark.parametrize("step", ["prepare:orders.after", "phase2a:*.after#2", "tell:committed"])
def test_killed_on_threads(
    step, noted, paxcommit_settings, failpoints, assert_atomic, paxcommit_recovery
) -> None:
    failpoints.kill_at(step)
    assert step in commit_steps(BOTH)
    assert failpoints.run(write, paxcommit_settings, *BOTH).killed_at
    assert noted.place("orders").prepared()
    [resolved] = paxcommit_recovery()
    assert not noted.place("orders").prepared() + noted.place("billing").prepared()
    found = assert_atomic(resolved.txid, NOTED)
    assert found.outcome is resolved.outcome
    assert found.there is (resolved.outcome is Outcome.COMMITTED)


def test_half_of_the_effects_is_found(noted, paxcommit_settings, assert_atomic) -> None:
    txid = write(paxcommit_settings, *BOTH)
    noted.place("billing").execute("delete from note")
    with pytest.raises(NotAtomic) as caught:
        assert_atomic(txid, NOTED)
    told = str(caught.value)
    assert "the effects are at orders, and not at billing" in told
    assert "billing: missing  select 1 from note" in told
    assert f"Transaction {txid}: committed" in told


def test_a_branch_rolled_back_by_hand_is_found(
    noted, paxcommit_settings, failpoints, assert_atomic
) -> None:
    failpoints.kill_at("tell:committed")
    failpoints.run(write, paxcommit_settings, *BOTH)
    noted.place("billing").execute(f"rollback prepared '{gid_of(noted, 'billing')}'")
    with pytest.raises(NotAtomic, match=r"(?s)billing: .*is lost.*billing: nothing of it"):
        assert_atomic(effects=NOTED)


def test_a_branch_committed_by_hand_is_found(
    noted, paxcommit_settings, failpoints, assert_atomic
) -> None:
    failpoints.kill_at("phase2a:*.before")  # whichever thread comes first: nobody has voted
    failpoints.run(write, paxcommit_settings, *BOTH)
    noted.place("orders").execute(f"commit prepared '{gid_of(noted, 'orders')}'")
    with pytest.raises(NotAtomic, match=r"(?s)orders: .*damage was recorded.*orders: committed"):
        assert_atomic()


async def test_what_a_living_coordinator_holds_is_waited_for(
    noted, paxcommit_settings, failpoints, assert_atomic_async, paxcommit_recovery_async
) -> None:
    failpoints.raise_at("prepare:billing.after")
    async with AsyncCoordinator.open(paxcommit_settings, driver="psycopg") as coordinator:
        tx = coordinator.transaction(deadline=600)
        async with ends_in(OutcomeUnknown), tx:
            for name in BOTH:
                connection = await tx.connection(name)
                await connection.execute("insert into note values ('x')")
        with pytest.raises(AssertionError, match="a coordinator that lives holds"):
            await paxcommit_recovery_async(patience=0)
        with pytest.raises(NotAtomic, match=r"billing: transaction .* is still prepared"):
            await assert_atomic_async(patience=0)
        found = await assert_atomic_async(tx.id, NOTED, patience=0)  # asked for: decided
    assert (found.outcome, found.there) == (Outcome.ABORTED, False)


async def test_blocking_calls_do_not_block_a_loop(assert_atomic, paxcommit_recovery) -> None:
    with pytest.raises(UsageError, match="await assert_atomic_async"):
        assert_atomic()
    with pytest.raises(UsageError, match="await recover_async"):
        paxcommit_recovery()


def test_servers_that_do_not_answer(noted, paxcommit_settings, assert_atomic) -> None:
    write(paxcommit_settings, *BOTH)
    with unreachable(noted, "a2"):
        assert assert_atomic(effects=NOTED).there
    with unreachable(noted, "a2", "a3"), pytest.raises(NotEnoughAcceptors):
        assert_atomic()
    with unreachable(noted, "billing"):
        with pytest.raises(NotAtomic, match="participant billing cannot be asked"):
            assert_atomic(patience=0)
        with pytest.raises(AssertionError, match="billing cannot be asked"):
            recover(noted, patience=0)
    assert assert_atomic(effects=NOTED).there


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("select text from note", "single boolean or number"),
        ("select 1, 2", "single boolean or number"),
        ("select 1 from note, note again", "single boolean or number"),
        ("select 1; select 2", "must be one SELECT"),
        ("delete from note", "read-only transaction"),
        ("select nonsense", "the query for orders failed: .*nonsense"),
    ],
)
def test_queries_that_cannot_tell(query, said, noted, paxcommit_settings, assert_atomic) -> None:
    noted.place("orders").execute("insert into note values ('x'), ('y')")
    with pytest.raises(ConfigurationError, match=said):
        assert_atomic(effects={"orders": query})


def test_names_and_ids_that_do_not_exist(noted, assert_atomic) -> None:
    with pytest.raises(ConfigurationError, match="there is no participant stock"):
        assert_atomic(effects={"stock": "select 1"})
    with pytest.raises(ConfigurationError, match="another epoch"):
        assert_atomic("2-0000000000000001-1")


def test_settings_and_files_do_as_well(noted, paxcommit_config, paxcommit_environment) -> None:
    txid = write(Settings.load(), *BOTH)
    for source in (noted, paxcommit_config, noted.settings, None):
        assert assert_atomic_of(source, txid, NOTED, driver="psycopg").there
    assert paxcommit_environment == {"PAXCOMMIT_CONFIG": str(paxcommit_config)}
