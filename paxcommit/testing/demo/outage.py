"""A crash of an acceptor's server in the middle of the work."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from paxcommit.testing.demo.books import Books
from paxcommit.testing.demo.screen import Screen
from paxcommit.testing.server import Server

__all__ = ["Outage", "suffer"]

_ENOUGH = 20
_PATIENCE = 20.0
_LOOK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Outage:
    """What happened while a server was down.

    Attributes:
        seconds: How long it was.
        committed: Transfers acknowledged meanwhile.
    """

    seconds: float
    committed: int


async def suffer(server: Server, seconds: float, books: Books, screen: Screen) -> Outage:
    """Crash `server`, as ``pg_ctl stop -m immediate`` does, and start it again.

    Args:
        server: It hosts an acceptor and no bank.
        seconds: For how long; longer if nothing much was committed by then.
        books: Where acknowledged transfers are put down.
        screen: Hears of it.
    """
    await asyncio.to_thread(server.stop, "immediate")
    began, before = time.monotonic(), len(books.committed)
    screen.line(f"  server {server.name}, an acceptor, crashed: 2 of 3 are left")
    while (down := time.monotonic() - began) < _PATIENCE:
        if down >= seconds and len(books.committed) - before >= _ENOUGH:
            break
        await asyncio.sleep(_LOOK_EVERY)
    outage = Outage(down, len(books.committed) - before)
    await asyncio.to_thread(server.start)
    screen.line(
        f"  server {server.name} is back after {down:.1f} s; {outage.committed} transfers were "
        f"committed without it"
    )
    return outage
