"""The first act: coordinators die, an acceptor crashes, and recovery runs beside it all."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from paxcommit.testing.demo.books import Books
from paxcommit.testing.demo.kills import PATIENCE, Kill, blows, strike
from paxcommit.testing.demo.locks import Locks
from paxcommit.testing.demo.outage import Outage, suffer
from paxcommit.testing.demo.processes import Child, Coordinator, Workshop
from paxcommit.testing.demo.result import MINIMUM_KILLS
from paxcommit.testing.demo.screen import Screen
from paxcommit.testing.layout import Layout

__all__ = ["Killing"]

_COORDINATORS = 3
_KILL_EVERY = 2.0
_KILLS = 14
_OUTAGE_BEGINS = 0.3
_OUTAGE_LASTS = 0.25
_WORKS_AT_LEAST = 1.5  # on a slow machine they would be killed as soon as they have started
_TICK = 0.25


class Killing:
    """See the module.

    Args:
        workshop: For the processes.
        layout: The last acceptor's server hosts no bank.
        locks: Sessions to the banks.
        screen: Shows what is going on.
        random: Chooses.

    Attributes:
        books: What clients were told.
        kills: In order.
        outages: Likewise.
    """

    def __init__(
        self, workshop: Workshop, layout: Layout, locks: Locks, screen: Screen, random: Random
    ) -> None:
        self.books = Books()
        self.kills: list[Kill] = []
        self.outages: list[Outage] = []
        self._workshop = workshop
        self._layout = layout
        self._locks = locks
        self._screen = screen
        self._random = random
        self._blows = blows(list(layout.acceptor_places), list(layout.participant_places))
        self._numbers = itertools.count(1)
        self._staff: list[Coordinator] = []  # the one that has worked longest comes first

    async def run(self, seconds: float) -> None:
        """Kill for about `seconds`, then let everybody end and recovery finish.

        Raises:
            ClusterError: A process did not start, or ended by itself.
        """
        async with self._recoverer(), self._coordinators():
            self._screen.act(
                f"{_COORDINATORS} coordinators move money between two banks, and are killed",
                seconds,
            )
            show = asyncio.create_task(self._show())
            outage = asyncio.create_task(self._outage(seconds))
            try:
                await self._kill(seconds)
                await outage
            finally:
                show.cancel()
                outage.cancel()
                await asyncio.wait([show, outage])
            for each in self._staff:
                await each.opened()
            await asyncio.gather(*(each.end() for each in self._staff))
            # Whatever the last ones left open; nothing, unless recovery lags behind.
            await self._locks.until_free("paxcommit:", "nobody", seconds=PATIENCE)

    @asynccontextmanager
    async def _recoverer(self) -> AsyncIterator[None]:
        command = "from paxcommit.cli.main import app; app()"
        arguments = ["-c", command, "recover", "--watch", *self._workshop.options]
        recoverer = await Child.start(self._workshop, "recoverer", *arguments)
        try:
            yield
            await recoverer.end()
        finally:
            await recoverer.destroy()

    @asynccontextmanager
    async def _coordinators(self) -> AsyncIterator[None]:
        try:
            for _ in range(_COORDINATORS):
                await self._employ()
            for each in self._staff:
                await each.opened()
            yield
        finally:
            for each in self._staff:
                await each.destroy()

    async def _employ(self) -> None:
        name = f"demo-{next(self._numbers)}"
        seed = str(self._random.getrandbits(32))
        self._staff.append(
            await Coordinator.employ(self._workshop, name, self.books, "--seed", seed)
        )

    async def _kill(self, seconds: float) -> None:
        every = min(_KILL_EVERY, seconds / _KILLS)
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds or len(self.kills) < MINIMUM_KILLS:
            victim = self._staff[0]
            await victim.opened()
            await asyncio.sleep(_WORKS_AT_LEAST - victim.at_work)
            kill = await strike(victim, next(self._blows), self._locks, self._random)
            self._staff.remove(victim)
            await self._employ()
            self.kills.append(kill)
            self._tell(victim, kill)
            if not kill.free:
                break  # it is as bad as it can be, and nobody wants to wait ten times for it
            await asyncio.sleep(max(0.0, past + every - (time.monotonic() - began)))

    def _tell(self, victim: Coordinator, kill: Kill) -> None:
        gone = "gone after" if kill.free else "NOT gone after"
        self._screen.line(
            f"  kill {len(self.kills):2}: {victim.name}, {kill.moment.value}: "
            f"{kill.in_doubt} branches in doubt, all locks {gone} {kill.recovery_ms:.0f} ms"
        )

    async def _outage(self, seconds: float) -> None:
        await asyncio.sleep(seconds * _OUTAGE_BEGINS)
        witness = list(self._layout.acceptor_places.values())[-1].server
        self.outages.append(
            await suffer(witness, seconds * _OUTAGE_LASTS, self.books, self._screen)
        )

    async def _show(self) -> None:
        began = time.monotonic()
        while True:
            status = f"{len(self.books.committed):,} committed, {len(self.kills)} kills"
            self._screen.update(time.monotonic() - began, status)
            await asyncio.sleep(_TICK)
