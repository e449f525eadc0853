"""`Recovery`: finishes what dead or silent coordinators left behind, on threads (R25 to R28)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from paxcommit.drivers import choose_sync
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
from paxcommit.runtime.recovering import Sweep, lane_of, operate, sweep
from paxcommit.runtime.threads.network import Network
from paxcommit.runtime.threads.run import drive
from paxcommit.runtime.timing import pause_between_looks
from paxcommit.settings import Settings, SettingsSource
from paxcommit.wiring import acceptor_dsns, make_membership, make_timing

__all__ = ["Recovery"]

_log = logging.getLogger("paxcommit.recovery")

_AT_ONCE = 32
"""Transactions resolved at the same time, at most."""


class Recovery:
    """Resolves transactions.  Any number of them may run at once, anywhere (R25).

    Open one with `Recovery.open`; a coordinator opened with ``recover=True`` has its own.
    """

    def __init__(self, settings: Settings, network: Network) -> None:
        self._settings = settings
        self._network = network
        # Apart from the network's: cases that wait for a slot must not keep its threads.
        self._slots = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="paxcommit case")
        self._lock = threading.Lock()
        self._busy: dict[TxId, Future[Resolved]] = {}
        self._unfinished = Unfinished()
        self._sightings = Sightings()
        self._stopping = threading.Event()
        self._watching: threading.Thread | None = None

    @classmethod
    @contextmanager
    def open(
        cls, settings: SettingsSource = None, *, driver: str | None = None
    ) -> Iterator[Recovery]:
        """Connect, without taking part in anything; see `AsyncRecovery.open`."""
        loaded = Settings.load(settings)
        members = make_membership(loaded, None)
        network = Network(choose_sync(driver), members, acceptor_dsns(loaded), make_timing(loaded))
        try:
            network.open()
            recovery = cls(loaded, network)
            try:
                yield recovery
            finally:
                recovery.stop()
        finally:
            network.close()

    def run_once(self) -> RecoveryReport:
        """Look at every participant once, and resolve what is dead or late.

        Returns:
            What was found and done; a transaction that cannot be decided now is in it as open.
        """
        found = self._sweep()
        resolved = [self._take_up(case) for case in found.cases]
        return RecoveryReport(
            len(found.seen),
            tuple(each.result() for each in resolved),
            tuple(found.foreign),
            found.unreachable,
        )

    def watch(self) -> None:
        """Look again and again, until `stop`; one slow transaction holds up no other."""
        while not self._stopping.is_set():
            seen = 0
            try:
                found = self._sweep()
                seen = len(found.seen)
                with self._lock:
                    cases = self._unfinished.beside(found.cases)
                for case in cases:
                    self._take_up(case)
                if not self._busy:
                    self._network.close_lanes()
            except PaxcommitError as error:
                _log.warning("recovery cannot look now: %s", error)
            self._stopping.wait(pause_between_looks(self._settings.recovery.poll_interval, seen))

    def resolve(self, txid: TxId, *, force: bool = False) -> Resolved:
        """Find out about one transaction; see `AsyncRecovery.resolve`."""
        members = self._network.members
        check_epoch(txid, members)
        if force:
            registered = self._network.run(members.registered())
            machine = forced(txid, self._settings, members, registered)
            return self._conclude(self._drive(machine))
        resolved = self._drive(asked(txid, self._settings, members))
        if resolved.outcome is Outcome.OPEN:
            return self._network.run(look_for_one_phase(resolved, members))
        return resolved

    # --- beside a coordinator -------------------------------------------------------------------

    def start(self) -> None:
        """Watch in the background."""
        if self._watching is None:
            self._watching = threading.Thread(
                target=self.watch, name="paxcommit recovery", daemon=True
            )
            self._watching.start()

    def stop(self) -> None:
        """Stop watching; what is being resolved is left to other recoverers, safely."""
        self._stopping.set()
        if self._watching is not None:
            self._watching.join()
            self._watching = None
        self._slots.shutdown(wait=False, cancel_futures=True)

    # --- inside ---------------------------------------------------------------------------------

    def _sweep(self) -> Sweep:
        members = self._network.members
        now = time.monotonic()
        return self._network.run(sweep(members, tuple(members.sites), self._sightings, now))

    def _take_up(self, case: Case) -> Future[Resolved]:
        """Resolve a transaction, unless that is under way already."""
        with self._lock:
            future, new = self._busy.get(case.txid), False
            if future is None:
                future = self._slots.submit(self._resolve_case, case)
                self._busy[case.txid] = future
                new = True
        if new:
            future.add_done_callback(lambda _: self._busy.pop(case.txid, None))
        return future

    def _resolve_case(self, case: Case) -> Resolved:
        machine = from_case(case, self._settings, self._network.members)
        return self._conclude(self._drive(machine, case.seen))

    def _drive(self, machine: RecoveryMachine, seen: Mapping[str, int] | None = None) -> Resolved:
        members = self._network.members
        lane = lane_of(machine.txid, len(self._busy))
        try:
            drive(
                machine,
                lambda effect: operate(effect, machine.txid, members, seen or {}, lane),
                self._network.perform,
                executor=self._network.executor,
                watchdog=self._network.watchdog,
                abandon=lambda _: None,
                tell=lambda _: None,
            )
        except PaxcommitError:
            _log.exception("transaction %s could not be resolved", machine.txid)
        return Resolved.of(machine)

    def _conclude(self, resolved: Resolved) -> Resolved:
        with self._lock:
            news = self._unfinished.note(resolved)
        if news:
            resolved.log(_log)
        return resolved
