"""The demo's processes: coordinators with their clients, and a recoverer."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from paxcommit.errors import ClusterError
from paxcommit.testing.bank.reports import Answered, Opened, Stopped, read_report
from paxcommit.testing.demo.books import Books
from paxcommit.testing.warden import warden

__all__ = ["Child", "Coordinator", "Workshop"]

_OPEN_SECONDS = 60.0
_END_SECONDS = 30.0  # a client may wait for locked accounts until it loses patience
_LOG_TAIL = 2_000


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every process is given.

    Attributes:
        folder: For logs.
        config: The settings' file.
        driver: To use; None for any that is installed.
    """

    folder: Path
    config: Path
    driver: str | None

    @property
    def options(self) -> list[str]:
        """The options that name settings and driver."""
        named = ["--driver", self.driver] if self.driver else []
        return ["--config", str(self.config), *named]


class Child:
    """A process that ends with this one, however that ends."""

    reports = False
    """Whether standard output is read."""

    def __init__(self, name: str, process: Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, workshop: Workshop, name: str, *arguments: str) -> Self:
        """Start this Python with `arguments`."""
        log = workshop.folder / f"{name}.log"
        # The configuration is the file alone: what the caller's environment says is not for us.
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PAXCOMMIT_", "PG"))
        }
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", *arguments),
                stdin=PIPE,
                stdout=PIPE if cls.reports else DEVNULL,
                stderr=errors,
                env=environment,
                start_new_session=True,  # a Ctrl-C in the terminal is for the demo
            )
        warden().process(process.pid)
        return cls(name, process, log)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    @property
    def log(self) -> str:
        """The end of what it wrote to standard error."""
        return self._log.read_text(errors="replace")[-_LOG_TAIL:]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            self._process.send_signal(number)

    async def gone(self) -> None:
        """Wait until it has ended."""
        await self._process.wait()
        warden().ended(self._process.pid)

    async def end(self) -> None:
        """End it gently.

        Raises:
            ClusterError: It did not end in time, or not well.
        """
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self.gone()
        except TimeoutError:
            raise ClusterError(f"{self.name} did not end: {self.log}") from None
        if self._process.returncode != 0:
            raise ClusterError(
                f"{self.name} ended with status {self._process.returncode}: {self.log}"
            )

    async def destroy(self) -> None:
        """End it in any way, unless it has ended."""
        self.signal(signal.SIGKILL)
        await self.gone()


class Coordinator(Child):
    """A coordinator's process with its clients: ``python -m paxcommit.testing.bank``."""

    reports = True

    def __init__(self, name: str, process: Process, log: Path) -> None:
        super().__init__(name, process, log)
        self.incarnation = ""
        self._open_since = math.inf
        self._opened = asyncio.Event()
        self._stopped = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def employ(cls, workshop: Workshop, name: str, books: Books, *options: str) -> Self:
        """Start one; what its clients are told goes into `books`."""
        arguments = ["-m", "paxcommit.testing.bank", "--commands", "--name", name]
        coordinator = await cls.start(workshop, name, *arguments, *workshop.options, *options)
        coordinator._reading = asyncio.create_task(coordinator._read(books))
        return coordinator

    @property
    def at_work(self) -> float:
        """For how many seconds; it must have been `opened`."""
        return time.monotonic() - self._open_since

    async def opened(self) -> None:
        """Wait until its clients work.

        Raises:
            ClusterError: It ended before.
        """
        if not await self._comes(self._opened, _OPEN_SECONDS):
            raise ClusterError(f"coordinator {self.name} did not start: {self.log}")

    async def stops_at(self, step: str, seconds: float) -> bool:
        """Have the process stop itself at the failpoint `step`.

        Returns:
            Whether it got there within `seconds`; then it stands still.

        Raises:
            ClusterError: It ended by itself.
        """
        self._command(f"stop {step}")
        return await self._comes(self._stopped, seconds)

    def kill(self) -> None:
        """SIGKILL.

        Raises:
            ClusterError: It ended by itself before.
        """
        if not self.running:
            raise ClusterError(f"coordinator {self.name} ended by itself: {self.log}")
        self.signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until it has ended, and everything that it said is in the books."""
        await super().gone()
        if self._reading is not None:
            await self._reading

    def _command(self, line: str) -> None:
        if self._process.stdin is not None and self.running:
            self._process.stdin.write(line.encode() + b"\n")

    async def _comes(self, event: asyncio.Event, seconds: float) -> bool:
        """Whether `event` comes within `seconds`, and before the process ends."""
        coming = asyncio.create_task(event.wait())
        going = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait({coming, going}, timeout=seconds, return_when="FIRST_COMPLETED")
        finally:
            for task in (coming, going):
                task.cancel()
        return event.is_set() and self.running

    async def _read(self, books: Books) -> None:
        stdout = self._process.stdout
        while stdout is not None and (line := await stdout.readline()):
            match read_report(line):
                case Opened(coordinator=incarnation):
                    self.incarnation, self._open_since = incarnation, time.monotonic()
                    self._opened.set()
                case Answered(kind=kind, txid=txid):
                    books.note(kind, txid)
                case Stopped():
                    self._stopped.set()
