"""Many transactions at once, over the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from paxcommit import Outcome

from .shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRANSFERS = 20
_OPENING = 1_000


@pytest.fixture
def accounts(shop: Shop) -> Iterator[None]:
    """One account in ``orders``, one in ``billing``."""
    for name in ("orders", "billing"):
        shop.look(name, "create table account (balance bigint not null)")
        shop.look(name, "insert into account values (%s)", _OPENING)
    yield
    for name in ("orders", "billing"):
        shop.look(name, "drop table account")


async def test_transfers_over_two_rows_conserve_the_sum(surface, shop, accounts):
    """Each moves its number, to and fro, and every fifth thinks better of it."""
    given_up = set(range(0, _TRANSFERS, 5))
    ended = []

    async def move(coordinator, number) -> None:
        amount = number if number % 2 else -number
        tx = coordinator.transaction()
        try:
            async with tx:
                # in one order, so that nobody waits for who waits for him
                for name, change in (("orders", -amount), ("billing", amount)):
                    raw = await tx.connection(name)
                    [[balance]] = await surface.run(raw, "select balance from account for update")
                    await surface.run(raw, f"update account set balance = {balance + change}")
                if number in given_up:
                    raise KeyError(number)
        except KeyError:
            assert number in given_up
        ended.append(tx)

    settings = shop.with_options(pool_size=_TRANSFERS, connect_timeout=60.0, deadline=60.0)
    async with surface.open(settings) as coordinator, asyncio.timeout(60):
        await asyncio.gather(*(move(coordinator, number) for number in range(_TRANSFERS)))
    moved = [number for number in range(_TRANSFERS) if number not in given_up]
    net = sum(number if number % 2 else -number for number in moved)
    assert shop.look("orders", "select balance from account") == [(_OPENING - net,)]
    assert shop.look("billing", "select balance from account") == [(_OPENING + net,)]
    outcomes = [tx.outcome for tx in ended]
    assert outcomes.count(Outcome.COMMITTED) == len(moved)
    assert outcomes.count(Outcome.ABORTED) == len(given_up)
    assert not shop.prepared()
