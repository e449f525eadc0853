"""Clients that keep moving money until they are told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from paxcommit.testing.bank.carriers import Carrier, Kind, Tell
from paxcommit.testing.bank.ledger import draw

__all__ = ["keep_moving"]

_PAUSE = 0.05
"""Seconds before a client that was refused tries another transfer."""


async def keep_moving(
    carrier: Carrier,
    banks: Sequence[str],
    *,
    clients: int,
    random: Random,
    tell: Tell,
    stop: asyncio.Event,
) -> None:
    """Run clients until `stop` is set, and let every transfer under way end.

    Args:
        carrier: Carries the transfers out.
        banks: Between which.
        clients: How many at once, each with one transfer at a time.
        random: Which transfers.
        tell: Hears of every transaction.
        stop: Ends it.
    """

    async def client() -> None:
        refused = False

        def hear(kind: Kind, txid: str) -> None:
            nonlocal refused
            refused = kind in ("aborted", "unknown")
            tell(kind, txid)

        while not stop.is_set():
            await carrier.carry(draw(random, banks), hear)
            if refused:
                await asyncio.sleep(_PAUSE)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
