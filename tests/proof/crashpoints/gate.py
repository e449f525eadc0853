"""In which order an asyncio process's durable statements reach the servers.

Left alone, what a process sends in parallel is under way all at once, and few of the states in
which it can die are ever seen: a machine that counts wrongly is excused by the messages that were
sent already.  Behind a closed gate one durable statement is carried out, everything that follows
from its answer comes to rest, and only then goes the next: the oldest that waits, or the newest.
"""

from __future__ import annotations

import asyncio

from .cases import Order
from .points import Frozen, Points

__all__ = ["Gate"]

_TURNS = 15
"""Turns of the event loop in which an answer comes from the socket to all who wait for it."""


class Gate:
    """Lets statements through; see the module.

    Args:
        order: ``natural`` leaves it open.
        points: Of the transaction that is under way.
    """

    def __init__(self, order: Order, points: Points) -> None:
        self._order = order
        self.points = points
        self._waiting: list[asyncio.Future[None]] = []
        self._busy = False
        self._choosing: asyncio.Task[None] | None = None

    async def enter(self) -> bool:
        """Wait for one's turn.

        Returns:
            Whether `leave` must follow.
        """
        if self._order == "natural" or not self.points.begun:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._choose()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()
            raise
        return True

    def leave(self) -> None:
        """The statement has ended."""
        self._busy = False
        self._choose()

    def close(self) -> None:
        """Let nothing through that waits now."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_exception(Frozen())

    async def calm(self) -> None:
        """Wait until nothing moves by itself any more."""
        turns = 0
        while turns < _TURNS:
            await asyncio.sleep(0)
            moving = self.points.flying or self._busy or self._waiting
            turns = 0 if moving else turns + 1

    def _choose(self) -> None:
        if not self._busy and self._choosing is None and self._waiting:
            self._choosing = asyncio.create_task(self._next())

    async def _next(self) -> None:
        calm = 0
        while calm < _TURNS:
            await asyncio.sleep(0)
            calm = 0 if self.points.flying else calm + 1
        self._choosing = None
        self._waiting = [turn for turn in self._waiting if not turn.done()]
        if self._waiting:
            self._busy = True
            self._waiting.pop(0 if self._order == "fifo" else -1).set_result(None)
