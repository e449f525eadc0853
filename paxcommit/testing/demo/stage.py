"""The whole demo, from three empty servers to the result."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from random import Random

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.ports import AsyncDriver
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.testing._account import Account, remove_folder
from paxcommit.testing.bank import judge, open_accounts
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.demo.killing import Killing
from paxcommit.testing.demo.kills import PATIENCE
from paxcommit.testing.demo.locks import Locks, watch_locks
from paxcommit.testing.demo.processes import Workshop
from paxcommit.testing.demo.reckoning import ask_about, reckon
from paxcommit.testing.demo.result import Result
from paxcommit.testing.demo.screen import Screen
from paxcommit.testing.demo.two_phase import Blocked, show_blocking
from paxcommit.testing.layout import Layout

__all__ = ["play"]

_BANKS = ("bank_a", "bank_b")
_CONNECT_SECONDS = 10.0
_WAIT_FACTOR = 5
_WAIT_AT_LEAST = 2.0


def play(screen: Screen, *, seconds: float, seed: int | None, driver: str | None) -> Result:
    """Play the demo; blocks, and leaves nothing behind, however it ends.

    Args:
        screen: Shows what is going on.
        seconds: How long coordinators are killed; the demo takes some twenty more.
        seed: Chooses transfers and kills; None: drawn.
        driver: See `AsyncCoordinator.open`.

    Raises:
        ConfigurationError: A driver or PostgreSQL is missing; says what to install.
        ClusterError: A server or a process did not start, or ended by itself.
    """
    began = time.monotonic()
    chosen = choose_async(driver)
    folder = Account().make_folder("paxcommit-demo-")
    try:
        screen.act("Starting three PostgreSQL servers")
        with Cluster(3) as cluster:
            layout = Layout.create(cluster, participants=_BANKS, name="demo")
            stage = _Stage(
                layout,
                Workshop(folder, layout.write_config(folder), driver),
                chosen,
                screen,
                secrets.randbits(32) if seed is None else seed,
            )
            return asyncio.run(stage.play(seconds, began))
    finally:
        remove_folder(folder)


@dataclass(frozen=True, slots=True)
class _Stage:
    """The servers stand, and everybody has what is needed."""

    layout: Layout
    workshop: Workshop
    driver: AsyncDriver
    screen: Screen
    seed: int

    async def play(self, seconds: float, began: float) -> Result:
        settings = Settings.load(self.layout.settings)
        await initialise(settings, self.driver)
        await self._open_accounts()
        before = judge(self.layout).money_after
        async with watch_locks(self.driver, self.layout.participants) as locks:
            killing = Killing(
                self.workshop,
                self.layout,
                locks,
                self.screen,
                Random(self.seed),  # noqa: S311 - a rerun needs the same draws
            )
            await killing.run(seconds)
            self.screen.act("Asking what became of the transfers that got no answer")
            async with AsyncCoordinator.open(settings, driver=self.workshop.driver) as coordinator:
                asked = await ask_about(coordinator, killing.books.unanswered)
            verdict = judge(self.layout)
            two_phase = await self._plain(killing, locks)
        return Result(
            kills=tuple(killing.kills),
            outages=tuple(killing.outages),
            reckoning=reckon(killing.books, asked, verdict),
            money_before=before,
            verdict=verdict,
            two_phase=two_phase,
            seed=self.seed,
            seconds=time.monotonic() - began,
        )

    async def _open_accounts(self) -> None:
        for dsn in self.layout.participants.values():
            session = await self.driver.connect(dsn, timeout=_CONNECT_SECONDS)
            try:
                await run_statements(session, open_accounts())
            finally:
                session.discard()

    async def _plain(self, killing: Killing, locks: Locks) -> Blocked:
        self.screen.act("The same under plain two-phase commit")
        longest = max(kill.recovery_ms for kill in killing.kills) / 1000
        wait = max(_WAIT_AT_LEAST, _WAIT_FACTOR * longest)
        return await show_blocking(
            self.workshop, locks, self.screen, seed=self.seed, wait=min(wait, PATIENCE)
        )
