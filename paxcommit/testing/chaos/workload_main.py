"""``python -m paxcommit.testing.chaos.workload_main``: a coordinator's process with its clients.

Runs until SIGTERM or the end of standard input.  Takes commands there, one a line:
``stop STEP SECONDS`` (SIGSTOP to itself if it reaches that failpoint within that time) and
``jump WALL MONOTONIC`` (seconds by which what it takes for time moves).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import threading
from contextlib import ExitStack
from functools import partial

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.coordinator import Coordinator
from paxcommit.errors import ClusterError
from paxcommit.ids import TxId
from paxcommit.settings import Settings
from paxcommit.testing.bank.commands import listen
from paxcommit.testing.chaos.clock import MovableClock
from paxcommit.testing.chaos.events import ProcessStarted, Recovered
from paxcommit.testing.chaos.reports import Jumped, Stopping, write_report
from paxcommit.testing.chaos.workload import Books, Clients
from paxcommit.testing.chaos.workload_threads import ThreadedClients
from paxcommit.testing.failpoints import call_at

__all__: list[str] = []

_log = logging.getLogger("paxcommit.testing.chaos")

_AGAIN = 0.5
"""Seconds before another attempt to open a coordinator."""


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--driver")
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--recover", action="store_true", help="a recoverer beside the work")
    parser.add_argument("--threads", action="store_true", help="the blocking surface")
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(_work(options))


async def _work(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    clock = MovableClock(loop)
    settings = Settings.load(options.config)
    if options.recover:
        logging.getLogger("paxcommit.recovery").addHandler(_Recoveries(options.name))
    listen(partial(_obey, clock), stop)
    while not stop.is_set():
        try:
            await (_threaded if options.threads else _asynchronous)(settings, options, stop)
        except _NotYet as error:  # the faults do not allow for it now
            _log.info("%s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN):
                    await stop.wait()


class _NotYet(Exception):
    """No coordinator can be opened; says why."""


async def _asynchronous(
    settings: Settings, options: argparse.Namespace, stop: asyncio.Event
) -> None:
    try:
        coordinator = await AsyncCoordinator.open(
            settings, driver=options.driver, recover=options.recover
        )
    except ClusterError as error:
        raise _NotYet(str(error)) from error
    try:
        _opened(options.name, coordinator.transaction().id)
        books = Books(options.name, write_report)
        await Clients(coordinator, books, options.seed).work(options.clients, stop)
    finally:
        await coordinator.close()


async def _threaded(settings: Settings, options: argparse.Namespace, stop: asyncio.Event) -> None:
    try:
        coordinator = await asyncio.to_thread(Coordinator.open, settings, recover=options.recover)
    except ClusterError as error:
        raise _NotYet(str(error)) from error
    try:
        _opened(options.name, coordinator.transaction().id)
        clients = ThreadedClients(coordinator, Books(options.name, write_report), options.seed)
        over = threading.Event()
        working = asyncio.create_task(asyncio.to_thread(clients.work, options.clients, over))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        over.set()
        await working
    finally:
        await asyncio.to_thread(coordinator.close)


def _opened(name: str, txid: TxId) -> None:
    """Say who we are; the transaction is never begun, only its id tells the incarnation."""
    incarnation = f"{txid.coordinator:016x}"
    write_report(ProcessStarted(0.0, name, "coordinator", incarnation, os.getpid()))


class _Recoveries(logging.Handler):
    """Reports what the recoverer beside the work has finished; it only ever logs that."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "transaction %s: %s; %s" and isinstance(record.args, tuple):
            txid, outcome = map(str, record.args[:2])
            if outcome in ("committed", "aborted"):
                write_report(
                    Recovered(
                        0.0, txid, "committed" if outcome == "committed" else "aborted", self._name
                    )
                )


def _obey(clock: MovableClock, verb: str, words: list[str]) -> None:
    match verb, words:
        case "stop", [step, seconds]:
            _Step(step, float(seconds))
        case "jump", [wall, monotonic]:
            write_report(Jumped(*clock.jump(float(wall), float(monotonic))))
        case _:
            raise SystemExit(f"no such command: {verb}")


class _Step:
    """Stops the process at a step, or says that it did not come in time: one of the two, once."""

    def __init__(self, step: str, seconds: float) -> None:
        self._step = step
        self._lock = threading.Lock()  # the step may be reached in any thread
        self._settled = False
        self._armed = ExitStack()
        self._armed.enter_context(call_at(step, self._reached))
        asyncio.get_running_loop().call_later(seconds, self._late)

    def _reached(self) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
        write_report(Stopping(self._step, reached=True))
        os.kill(os.getpid(), signal.SIGSTOP)

    def _late(self) -> None:
        with self._lock:
            if self._settled:
                return
            self._settled = True
        self._armed.close()
        write_report(Stopping(self._step, reached=False))


if __name__ == "__main__":
    _main()
