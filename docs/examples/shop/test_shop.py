"""The shop's promise, also when its process is killed or loses sight of what it did."""

from __future__ import annotations

import pytest
from shop import InsufficientFunds, Payment, Shop

from paxcommit import AsyncCoordinator, Outcome, ParticipantUnavailable, Settings
from paxcommit.testing import Layout, commit_steps, unreachable

PAID = {
    "orders": "select state = 'paid' from orders where id = 7",
    "billing": "select count(*) from charges where order_id = 7",
}


async def test_an_order_is_paid(shop, assert_atomic_async):
    payment = await shop.pay(7)
    assert payment.outcome is Outcome.COMMITTED
    found = await assert_atomic_async(payment.txid, PAID)
    assert found.there


async def test_without_funds_nothing_happens(shop, databases, assert_atomic_async):
    with pytest.raises(InsufficientFunds):
        await shop.pay(8)
    await assert_atomic_async()
    assert databases.place("orders").execute("select state from orders where id = 8") == [("new",)]
    assert databases.place("billing").execute("select * from charges") == []


async def test_without_billing_nothing_happens(shop, databases, assert_atomic_async):
    with unreachable(databases, "billing"), pytest.raises(ParticipantUnavailable):
        await shop.pay(7)
    found = await assert_atomic_async(effects=PAID)
    assert not found.there


async def pay(settings: Settings, order_id: int) -> Payment:
    """What a process of the service's does."""
    async with AsyncCoordinator.open(settings, driver="asyncpg") as coordinator:
        return await Shop(coordinator).pay(order_id)


@pytest.mark.parametrize("step", commit_steps(["orders", "billing"]))
def test_killed_anywhere(step, databases, paxcommit_settings, failpoints, assert_atomic):
    failpoints.kill_at(step)
    assert failpoints.run(pay, paxcommit_settings, 7).killed_at
    found = assert_atomic(effects=PAID)
    if not found.there:  # then one may try again, and it goes through
        failpoints.run(pay, paxcommit_settings, 7)
    assert assert_atomic(effects=PAID).there
    assert money(databases) == 5000 - 4200


@pytest.mark.parametrize(
    ("step", "outcome"),
    [("prepare:billing.after", Outcome.ABORTED), ("tell:committed", Outcome.COMMITTED)],
)
async def test_an_unknown_outcome_is_settled_before_anything_else(
    step, outcome, shop, databases, failpoints, assert_atomic_async
):
    failpoints.raise_at(step)
    payment = await shop.pay(7)
    assert payment.outcome is Outcome.OPEN
    payment = await shop.settle(payment)
    assert payment.outcome is outcome
    found = await assert_atomic_async(payment.txid, PAID)
    assert found.there is (outcome is Outcome.COMMITTED)


def money(databases: Layout) -> int:
    [[cents]] = databases.place("billing").execute(
        "select cents from accounts where customer = 'ada'"
    )
    return cents
