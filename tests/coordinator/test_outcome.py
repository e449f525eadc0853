"""`outcome()`: any process may ask what became of a transaction, and is told the truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from paxcommit import ClusterError, InvalidTxId, Outcome, TxId

from .shop import Shop, ends_in
from .surfaces import Surface

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def another(surface: Surface, shop: Shop) -> AsyncIterator[Any]:
    """A coordinator that had no part in anything."""
    async with surface.open(shop.settings) as another:
        yield another


@pytest.mark.parametrize("names", [("orders",), ("orders", "billing")], ids=["one", "two"])
@pytest.mark.parametrize("spell", [str, lambda txid: txid], ids=["str", "TxId"])
async def test_committed(coordinator, another, note, names, spell):
    async with coordinator.transaction() as tx:
        await note(tx, *names)
    for whoever in (coordinator, another):
        assert await whoever.outcome(spell(tx.id)) is Outcome.COMMITTED
        assert await whoever.outcome(spell(tx.id), force=True) is Outcome.COMMITTED
    assert tx.outcome is Outcome.COMMITTED


@pytest.mark.parametrize("names", [("orders",), ("orders", "billing")], ids=["one", "two"])
async def test_aborted_before_any_vote_is_open_until_it_is_forced(
    coordinator, another, shop, note, names
):
    """Its own coordinator knew, and told no acceptor: it never queued J (R21).

    So nobody else can tell it from a transaction that is still in its block.
    """
    async with ends_in(KeyError), coordinator.transaction() as tx:
        await note(tx, *names)
        raise KeyError
    assert tx.outcome is Outcome.ABORTED
    assert await another.outcome(str(tx.id)) is Outcome.OPEN
    assert await another.outcome(str(tx.id), force=True) is Outcome.ABORTED
    assert await another.outcome(tx.id) is Outcome.ABORTED
    assert await coordinator.outcome(tx.id) is Outcome.ABORTED
    assert shop.noted(tx.id) == set()


async def test_forced_while_it_is_in_its_block_it_cannot_commit_any_more(
    coordinator, another, shop, note
):
    async with ends_in(Exception), coordinator.transaction() as tx:
        await note(tx, "orders", "billing")
        assert await another.outcome(tx.id) is Outcome.OPEN
        assert await another.outcome(tx.id, force=True) is Outcome.ABORTED
    assert tx.outcome is Outcome.ABORTED
    assert shop.noted(tx.id) == set()
    assert set(shop.rows(tx.id).values()) == {"fence"}


async def test_one_that_never_was_is_open(another):
    assert await another.outcome(TxId(1, 42, 1)) is Outcome.OPEN


@pytest.mark.parametrize(
    "text",
    ["", "1", "1-00c0ffee00c0ffee", "1-00C0FFEE00C0FFEE-1", "1-ffffffffffffffff-1", "x-1-2",
     " 1-00c0ffee00c0ffee-1", "1-00c0ffee00c0ffee-1\n", "1-00c0ffee00c0ffee--1"],
)  # fmt: skip
@pytest.mark.parametrize("force", [False, True])
async def test_what_is_no_transaction_id_is_refused(coordinator, text, force):
    with pytest.raises(InvalidTxId):
        await coordinator.outcome(text, force=force)


@pytest.mark.parametrize("force", [False, True])
async def test_an_epoch_that_is_not_known_here_is_refused(coordinator, force):
    with pytest.raises(ClusterError, match="epoch 2"):
        await coordinator.outcome(TxId(2, 42, 1), force=force)
