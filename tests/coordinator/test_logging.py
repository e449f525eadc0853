"""Logs stand under ``paxcommit``, name the transaction, and keep quiet when all is well."""

from __future__ import annotations

import logging

import pytest

from paxcommit.testing import failpoints

from .shop import ends_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ours(caplog) -> list[logging.LogRecord]:
    """All records but those of asyncio and of the driver."""
    drivers = ("asyncio", "psycopg", "asyncpg")
    return [record for record in caplog.records if not record.name.startswith(drivers)]


async def test_a_commit_and_an_abort_are_no_news(surface, shop, note, caplog):
    caplog.set_level(logging.DEBUG)
    async with surface.open(shop.settings) as coordinator:
        async with coordinator.transaction() as tx:
            await note(tx, "orders", "billing")
        async with ends_in(KeyError), coordinator.transaction() as given_up:
            await note(given_up, "orders", "billing")
            raise KeyError
    records = ours(caplog)
    assert {record.name.partition(".")[0] for record in records} == {"paxcommit"}
    assert not [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    for each in (tx, given_up):
        assert any(str(each.id) in record.getMessage() for record in records)


async def test_damage_is_logged_as_an_error(coordinator, surface, shop, note, caplog):
    """A decided branch that somebody rolled back by hand (R19)."""
    tx = coordinator.transaction()

    def meddle() -> None:
        shop.look("orders", f"rollback prepared '{shop.gid('orders', tx.id)}'")

    with failpoints.call_at("tell:committed", meddle):
        async with tx:
            await note(tx, "orders", "billing")
    [record] = [record for record in ours(caplog) if record.levelno >= logging.ERROR]
    assert record.name.startswith("paxcommit.")
    assert str(tx.id) in record.getMessage()
    assert "orders" in record.getMessage()
    assert shop.damages(tx.id) == {"orders": "lost-branch"}
    assert set(tx.unapplied) == {"orders"}
