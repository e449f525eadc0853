"""`run()`: the same work again, in a new transaction, where that makes sense and not elsewhere."""

from __future__ import annotations

import pytest

from paxcommit import Outcome, OutcomeUnknown, TransactionAborted

from .shop import ends_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = "select count(*) from note"


def skew(shop, txid) -> None:
    """Another serializable transaction that read what `txid` wrote, and wrote what it read.

    It commits first, so it is `txid` that cannot be serialized any more.
    """
    begin = "set transaction isolation level serializable"
    with shop.holding("orders", begin, COUNT) as other:
        other.execute("insert into note values (%s, 'skew')", (f"beside {txid}",))
        other.commit()


async def read_and_write(tx, surface, note, meanwhile=None) -> None:
    """Count the notes and write one, which is what the other transaction does too."""
    await surface.run(await tx.connection("orders"), COUNT)
    if meanwhile is not None:
        meanwhile()
    await note(tx, "orders", "billing")


async def test_a_statement_that_could_not_be_serialized_is_tried_again(
    coordinator, surface, shop, note
):
    """The driver's own error ended the block, or PREPARE did: the cure is the same."""
    ids = []

    async def work(tx) -> str:
        ids.append(tx.id)
        meanwhile = (lambda: skew(shop, tx.id)) if len(ids) == 1 else None
        await read_and_write(tx, surface, note, meanwhile)
        return f"attempt {len(ids)}"

    assert await coordinator.run(work, isolation="serializable") == "attempt 2"
    first, second = ids
    assert first != second
    assert shop.noted(first) == set()
    assert shop.noted(second) == {"orders", "billing"}
    assert not shop.prepared(first)


async def test_a_prepare_that_could_not_be_serialized_is_tried_again(
    coordinator, surface, shop, note
):
    """Both have read and written before the other one commits, so only PREPARE can tell."""
    ids = []

    async def work(tx) -> None:
        ids.append(tx.id)
        await read_and_write(tx, surface, note)
        if len(ids) == 1:
            skew(shop, tx.id)

    await coordinator.run(work, isolation="serializable")
    first, second = ids
    assert shop.noted(first) == set()
    assert shop.noted(second) == {"orders", "billing"}


@pytest.mark.parametrize("attempts", [1, 3])
async def test_attempts_are_bounded_and_the_last_error_is_raised(
    coordinator, surface, shop, note, attempts
):
    ids = []

    async def work(tx) -> None:
        ids.append(tx.id)
        await read_and_write(tx, surface, note)
        skew(shop, tx.id)

    async with ends_in(TransactionAborted) as caught:
        await coordinator.run(work, attempts=attempts, isolation="serializable")
    assert caught.value.retryable
    assert caught.value.txid == ids[-1]
    assert len(set(ids)) == len(ids) == attempts
    assert all(shop.noted(txid) == set() for txid in ids)


async def test_a_drivers_deadlock_is_raised_after_the_last_attempt(coordinator, surface, note):
    ids = []

    async def work(tx) -> None:
        ids.append(tx.id)
        orders = await tx.connection("orders")
        await surface.run(orders, "do $$ begin raise sqlstate '40P01'; end $$")

    async with ends_in(Exception) as caught:
        await coordinator.run(work, attempts=2)
    assert caught.value.sqlstate == "40P01"
    assert len(ids) == 2


def plain(_) -> Exception:
    return ValueError("the user's own")


def unknown(txid) -> Exception:
    return OutcomeUnknown(txid, "said a transaction inside this one")


def final(txid) -> Exception:
    return TransactionAborted(txid, "for good")


@pytest.mark.parametrize("make", [plain, unknown, final])
async def test_nothing_else_is_tried_again(coordinator, shop, note, make):
    raised = []

    async def work(tx) -> None:
        await note(tx, "orders", "billing")
        raised.append(make(tx.id))
        raise raised[-1]

    async with ends_in(Exception) as caught:
        await coordinator.run(work)
    assert raised == [caught.value]


async def test_it_commits_like_a_block(coordinator, shop, note):
    seen = []

    async def work(tx) -> None:
        await note(tx, "orders", "billing")
        seen.append(tx)

    await coordinator.run(work, wait="applied")
    assert seen[0].outcome is Outcome.COMMITTED
    assert shop.noted(seen[0].id) == {"orders", "billing"}
