"""The staff: coordinators with their clients, and recoverers; who dies is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal

from paxcommit.drivers import choose_sync
from paxcommit.errors import ClusterError, DriverError
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import Answered, Begun, ProcessEnded, ProcessStarted
from paxcommit.testing.chaos.reports import Jumped, Stopping, read_report
from paxcommit.testing.chaos.stage import Stage
from paxcommit.testing.demo.processes import Child, Workshop

__all__ = ["Slot", "Staff", "Worker"]

_COORDINATORS = ("c1", "c2", "c3")
_RECOVERERS = ("r1", "r2")
_IN_THREADS = "c2"
_WITH_RECOVERER = "c3"
_CLIENTS = 5
_OPEN_SECONDS = 60.0
_END_SECONDS = 60.0
_WATCH = "from paxcommit.cli.main import app; app()"
_SLOW_SECONDS = 3.0
_HEAL_SECONDS = 60.0
_PAUSE = 0.2
_MAX_FAILURES = 3


class Worker(Child):
    """One life of one process.

    Attributes:
        incarnation: As gids spell it; empty before it is open, and for a recoverer.
        fate: How its end is to be understood.
        reporting: Whether its standard output is for us.
        answers: How many its clients have got.
        writing: Transactions under way that write, oldest first, each with its banks.
        commits: How many it was told that wrote at each bank.
        flaw: What we hold against it, beside how it ended.
        opened: Set once its clients work.
        over: Set once it is gone and all it said is written down.
    """

    reports = True

    def __init__(self, name: str, process: Process, log: Path) -> None:
        super().__init__(name, process, log)
        self.incarnation = ""
        self.fate: Literal["killed", "stopped", "failed"] = "failed"
        self.answers = 0
        self.writing: dict[str, frozenset[str]] = {}
        self.commits: Counter[str] = Counter()
        self.flaw = ""
        self.reporting = True
        self.opened = asyncio.Event()
        self.over = asyncio.Event()
        self.jumps: asyncio.Queue[Jumped] = asyncio.Queue()
        self._stops: asyncio.Queue[Stopping] = asyncio.Queue()

    @property
    def pid(self) -> int:
        """The system's number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """What ``waitpid`` said: negative for a signal; None while it runs."""
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL; wait for `over`."""
        self.fate = "killed"
        self.signal(signal.SIGKILL)

    def command(self, line: str) -> None:
        """Send a command, see `workload_main`."""
        if self._process.stdin is not None and self.running:
            self._process.stdin.write(line.encode() + b"\n")

    async def stops_at(self, step: str, seconds: float) -> bool:
        """Have it stop itself at a failpoint; tell whether it got there within `seconds`."""
        self.command(f"stop {step} {seconds}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds + _SLOW_SECONDS):
                return (await self._stops.get()).reached
        return False

    async def read(self, chronicle: Chronicle) -> None:
        """Write down what it says, until it says no more."""
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            if not self.reporting:
                continue
            match read_report(line):
                case Stopping() as stopping:
                    self._stops.put_nowait(stopping)
                case Jumped() as jumped:
                    self.jumps.put_nowait(jumped)
                case event:
                    if isinstance(event, ProcessStarted):
                        self.incarnation = event.incarnation
                        self.opened.set()
                    elif isinstance(event, Begun) and event.legs:
                        self.writing[event.txid] = frozenset(leg.bank for leg in event.legs)
                    elif isinstance(event, Answered):
                        self.answers += 1
                        banks = self.writing.pop(event.txid, frozenset())
                        if event.answer == "committed":
                            self.commits.update(banks)
                    chronicle.note(event)


class Slot:
    """A process that is to be there for the whole run, one life after the other.

    Attributes:
        name: Of the slot, and of its routes through the proxy.
        worker: The present life.
        lives: How many there have been.
        failures: How many of them ended by themselves before they were at work.
    """

    def __init__(self, name: str, workshop: Workshop) -> None:
        self.name = name
        self.workshop = workshop
        self.worker: Worker | None = None
        self.lives = 0
        self.failures = 0

    @property
    def coordinates(self) -> bool:
        """Whether it is a coordinator."""
        return self.name in _COORDINATORS

    def arguments(self, seed: int) -> list[str]:
        """What to start Python with, for the present life."""
        if not self.coordinates:
            return ["-c", _WATCH, "recover", "--watch", *self.workshop.options]
        options = [
            "--name",
            f"{self.name}.{self.lives}",
            "--seed",
            f"{seed}:{self.name}:{self.lives}",
        ]
        options += ["--clients", str(_CLIENTS)]
        if self.name == _WITH_RECOVERER:
            options.append("--recover")
        if self.name == _IN_THREADS and _threads_possible():
            options.append("--threads")
        return ["-m", "paxcommit.testing.chaos.workload_main", *self.workshop.options, *options]


class Staff:
    """All processes of a run; use `Staff.employ`."""

    def __init__(self, stage: Stage, chronicle: Chronicle, seed: int) -> None:
        self._stage = stage
        self._chronicle = chronicle
        self._seed = seed
        self._slots: list[Slot] = []
        self._keepers: dict[Slot, asyncio.Task[None]] = {}
        self._ending: set[Slot] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def employ(cls, stage: Stage, chronicle: Chronicle, seed: int) -> AsyncIterator[Staff]:
        """Start everybody, and see to it that nobody is left afterwards."""
        staff = cls(stage, chronicle, seed)
        try:
            for name in (*_COORDINATORS, *_RECOVERERS):
                workshop = Workshop(stage.folder, await stage.config_for(name), stage.driver_name)
                slot = Slot(name, workshop)
                staff._slots.append(slot)
                staff._keepers[slot] = asyncio.create_task(staff._keep(slot))
            yield staff
        finally:
            await staff._dismiss()

    @property
    def coordinators(self) -> list[Slot]:
        """Their slots."""
        return [slot for slot in self._slots if slot.coordinates]

    @property
    def recoverers(self) -> list[Slot]:
        """Likewise."""
        return [slot for slot in self._slots if not slot.coordinates]

    @property
    def names(self) -> list[str]:
        """Of all slots."""
        return [slot.name for slot in self._slots]

    async def opened(self) -> None:
        """Wait until all coordinators work.

        Raises:
            ClusterError: One does not.
        """
        for slot in self.coordinators:
            try:
                async with asyncio.timeout(_OPEN_SECONDS):
                    while slot.worker is None or not slot.worker.opened.is_set():
                        self.check()
                        await asyncio.sleep(0.02)
            except TimeoutError:
                log = slot.worker.log if slot.worker is not None else ""
                raise ClusterError(f"coordinator {slot.name} does not start: {log}") from None

    async def all_commit_again(self) -> None:
        """Wait until every coordinator has committed at every bank again, after all has healed.

        One that does not in time has failed, and will say so when it ends: a connection, a slot
        or a lock that it lost for good.
        """
        workers = [slot.worker for slot in self.coordinators if slot.worker is not None]
        before = {worker: Counter(worker.commits) for worker in workers}
        late = self.coordinators
        give_up = time.monotonic() + _HEAL_SECONDS
        while late and time.monotonic() < give_up:
            await asyncio.sleep(0.05)
            late = [slot for slot in late if not self._has_committed(slot.worker, before)]
        for slot in late:
            if slot.worker is not None:
                slot.worker.flaw = (
                    f"{_HEAL_SECONDS:.0f} s after everything had healed it had not committed at "
                    f"every bank"
                )

    def _has_committed(self, worker: Worker | None, before: Mapping[Worker, Counter[str]]) -> bool:
        """Whether it has since `before`; whoever has started since then had committed nothing."""
        if worker is None or not worker.running:
            return False
        past = before.get(worker, Counter())
        return all(worker.commits[bank] > past[bank] for bank in self._stage.banks)

    def check(self) -> None:
        """Raise what went wrong while watching over a process, if anything did."""
        for keeper in self._keepers.values():
            if keeper.done() and not keeper.cancelled():
                keeper.result()

    async def end(self, slots: list[Slot]) -> None:
        """End processes gently; who does not end in time is killed, and has `failed`."""
        self._ending |= set(slots)
        for slot in slots:
            if slot.worker is not None:
                slot.worker.signal(signal.SIGCONT)
                slot.worker.fate = "stopped"
                slot.worker.signal(signal.SIGTERM)
        keepers = [self._keepers[slot] for slot in slots]
        _, late = await asyncio.wait(keepers, timeout=_END_SECONDS)
        for slot in slots:
            if self._keepers[slot] in late and slot.worker is not None:
                slot.worker.fate = "failed"
                slot.worker.signal(signal.SIGKILL)
        await asyncio.wait(keepers)
        self.check()

    async def _keep(self, slot: Slot) -> None:
        """Keep a slot filled, until it is to end."""
        while slot not in self._ending:
            slot.lives += 1
            name = f"{slot.name}.{slot.lives}"
            worker = await Worker.start(slot.workshop, name, *slot.arguments(self._seed))
            slot.worker = worker
            if not slot.coordinates:
                worker.reporting = False
                worker.opened.set()
                self._chronicle.note(ProcessStarted(0.0, name, "recoverer", "", worker.pid))
            await worker.read(self._chronicle)
            await worker.gone()
            # Whoever was still starting had not said yet that SIGTERM is to end it gently.
            if worker.fate == "stopped" and worker.status not in (0, -signal.SIGTERM):
                worker.fate = "failed"
            if worker.flaw:
                worker.fate = "failed"
            self._ended(slot, worker)
            worker.over.set()
            if slot not in self._ending:
                await asyncio.sleep(_PAUSE)

    def _ended(self, slot: Slot, worker: Worker) -> None:
        detail = f"status {worker.status}" + (f"; {worker.flaw}" if worker.flaw else "")
        if worker.fate == "failed":
            detail += f": {worker.log}"
            self._chronicle.tell(f"{worker.name} failed: {detail}")
        if worker.opened.is_set():
            self._chronicle.note(ProcessEnded(0.0, worker.name, worker.fate, detail))
        elif worker.fate == "failed":
            slot.failures += 1
            if slot.failures == _MAX_FAILURES:
                raise ClusterError(f"{slot.name} does not start, {detail}")

    async def _dismiss(self) -> None:
        self._ending |= set(self._slots)
        for keeper in self._keepers.values():
            keeper.cancel()
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.signal(signal.SIGCONT)
                await slot.worker.destroy()
        if self._keepers:
            await asyncio.wait(self._keepers.values())


def _threads_possible() -> bool:
    """Whether a driver with a blocking surface is installed, whichever the run was to use."""
    try:
        choose_sync()
    except DriverError:
        return False
    return True
