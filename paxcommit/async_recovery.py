"""`AsyncRecovery`: finishes what dead or silent coordinators left, on asyncio (R25 to R28)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from paxcommit.drivers import choose_async
from paxcommit.errors import PaxcommitError
from paxcommit.ids import TxId
from paxcommit.protocol.recovery import RecoveryMachine
from paxcommit.protocol.values import Outcome
from paxcommit.protocol.watching import Case, Sightings
from paxcommit.reports import RecoveryReport, Resolved
from paxcommit.resolving import (
    Unfinished,
    asked,
    check_epoch,
    forced,
    from_case,
    look_for_one_phase,
)
from paxcommit.runtime.aio.network import Network
from paxcommit.runtime.aio.run import drive
from paxcommit.runtime.recovering import Sweep, lane_of, operate, sweep
from paxcommit.runtime.timing import MAX_BATCH, pause_between_looks
from paxcommit.settings import Settings, SettingsSource
from paxcommit.wiring import acceptor_dsns, make_membership, make_timing

__all__ = ["AsyncRecovery"]

_log = logging.getLogger("paxcommit.recovery")

_AT_ONCE = MAX_BATCH
"""Transactions resolved at the same time, at most: as many as one call to an acceptor carries."""


class AsyncRecovery:
    """Resolves transactions.  Any number of them may run at once, anywhere (R25).

    Open one with `AsyncRecovery.open`; a coordinator opened with ``recover=True`` has its own.
    """

    def __init__(self, settings: Settings, network: Network) -> None:
        self._settings = settings
        self._network = network
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._busy: dict[TxId, asyncio.Task[Resolved]] = {}
        self._unfinished = Unfinished()
        self._sightings = Sightings()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: SettingsSource = None, *, driver: str | None = None
    ) -> AsyncIterator[AsyncRecovery]:
        """Connect to the acceptors and participants, without taking part in anything.

        Args:
            settings: See `Settings.load`.
            driver: See `AsyncCoordinator.open`.

        Raises:
            ConfigurationError, NotEnoughAcceptors, IdentityMismatch: See `AsyncCoordinator.open`.
        """
        loaded = Settings.load(settings)
        members = make_membership(loaded, None)
        network = Network(choose_async(driver), members, acceptor_dsns(loaded), make_timing(loaded))
        try:
            await network.open()
            recovery = cls(loaded, network)
            try:
                yield recovery
            finally:
                await recovery.stop()
        finally:
            await network.close()

    async def run_once(self) -> RecoveryReport:
        """Look at every participant once, and resolve what is dead or late.

        Returns:
            What was found and done; a transaction that cannot be decided now is in it as open.
        """
        found = await self._sweep()
        resolved = await asyncio.gather(*(self._take_up(case) for case in found.cases))
        return RecoveryReport(
            len(found.seen), tuple(resolved), tuple(found.foreign), found.unreachable
        )

    async def watch(self) -> None:
        """Look again and again, until cancelled; one slow transaction holds up no other."""
        while True:
            seen = 0
            try:
                found = await self._sweep()
                seen = len(found.seen)
                for case in self._unfinished.beside(found.cases):
                    self._take_up(case)
                if not self._busy:
                    await self._network.close_lanes()
            except PaxcommitError as error:
                _log.warning("recovery cannot look now: %s", error)
            await asyncio.sleep(pause_between_looks(self._settings.recovery.poll_interval, seen))

    async def resolve(self, txid: TxId, *, force: bool = False) -> Resolved:
        """Find out about one transaction, without a branch to begin from (R23).

        Args:
            txid: The transaction.
            force: Decide it if it is open, and apply the decision.

        Raises:
            ClusterError: Its epoch is not known here.
            NotEnoughAcceptors: With `force`, fewer than F+1 acceptors answer.
        """
        members = self._network.members
        check_epoch(txid, members)
        if force:
            registered = await self._network.run(members.registered())
            machine = forced(txid, self._settings, members, registered)
            return self._conclude(await self._drive(machine))
        resolved = await self._drive(asked(txid, self._settings, members))
        if resolved.outcome is Outcome.OPEN:
            return await self._network.run(look_for_one_phase(resolved, members))
        return resolved

    # --- beside a coordinator -------------------------------------------------------------------

    def start(self) -> None:
        """Watch in the background."""
        if self._watching is None:
            self._watching = asyncio.get_running_loop().create_task(self.watch())
            self._watching.add_done_callback(_report_death)

    async def stop(self) -> None:
        """Stop watching; what is being resolved is left to other recoverers, safely."""
        tasks: list[asyncio.Task[None] | asyncio.Task[Resolved]] = [*self._busy.values()]
        if self._watching is not None:
            tasks.append(self._watching)
            self._watching = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- inside ---------------------------------------------------------------------------------

    async def _sweep(self) -> Sweep:
        members = self._network.members
        now = asyncio.get_running_loop().time()
        return await self._network.run(sweep(members, tuple(members.sites), self._sightings, now))

    def _take_up(self, case: Case) -> asyncio.Task[Resolved]:
        """Resolve a transaction, unless that is under way already."""
        task = self._busy.get(case.txid)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._resolve_case(case))
            self._busy[case.txid] = task
            task.add_done_callback(lambda _: self._busy.pop(case.txid, None))
        return task

    async def _resolve_case(self, case: Case) -> Resolved:
        async with self._slots:
            machine = from_case(case, self._settings, self._network.members)
            return self._conclude(await self._drive(machine, case.seen))

    async def _drive(
        self, machine: RecoveryMachine, seen: Mapping[str, int] | None = None
    ) -> Resolved:
        members = self._network.members
        lane = lane_of(machine.txid, len(self._busy))
        try:
            await drive(
                machine,
                lambda effect: operate(effect, machine.txid, members, seen or {}, lane),
                self._network.perform,
                ask=self._network.ask,
                abandon=lambda _: None,
                tell=lambda _: None,
            )
        except PaxcommitError:
            _log.exception("transaction %s could not be resolved", machine.txid)
        return Resolved.of(machine)

    def _conclude(self, resolved: Resolved) -> Resolved:
        if self._unfinished.note(resolved):
            resolved.log(_log)
        return resolved


def _report_death(watching: asyncio.Task[None]) -> None:
    if not watching.cancelled() and (error := watching.exception()) is not None:
        _log.error("recovery beside the coordinator has ended, a bug: %r", error)
