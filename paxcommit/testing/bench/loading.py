"""Closed-loop clients in this process, and the window in which what they do counts."""

from __future__ import annotations

import asyncio
import cProfile
import threading
import time
from collections.abc import Sequence

from paxcommit.testing.bench.job import Measure, Measured
from paxcommit.testing.bench.profiling import functions, packages
from paxcommit.testing.bench.systems.system import AsyncSystem, SyncSystem
from paxcommit.testing.bench.work import row_of

__all__ = ["AsyncLoad", "SyncLoad"]

_WARM_TRANSACTIONS = 3
_WARM_AT_MOST = 30.0
_LOOK_EVERY = 0.1


class _Window:
    """What counts: transactions that end while it is open.

    Args:
        clients: How many.
        profile: Runs while it is open, if given.
    """

    def __init__(self, clients: int, profile: cProfile.Profile | None = None) -> None:
        self.latencies: list[float] = []
        self.is_open = False
        self.profile = profile
        self.began = self.cpu = 0.0
        self._done = [0] * clients

    def note(self, number: int, took: float) -> None:
        """A client's transaction has ended."""
        self._done[number] += 1
        if self.is_open:
            self.latencies.append(took)

    @property
    def is_warm(self) -> bool:
        """Whether every client has its connections, and statements are prepared."""
        return min(self._done) >= _WARM_TRANSACTIONS

    def open(self) -> None:
        self.is_open = True
        self.began, self.cpu = time.perf_counter(), time.process_time()
        if self.profile is not None:
            self.profile.enable()

    def close(self) -> Measured:
        if self.profile is not None:
            self.profile.disable()
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
        self.is_open = False
        latencies = sorted(self.latencies)
        return Measured(
            commits=len(latencies),
            seconds=seconds,
            cpu=cpu,
            p50=_quantile(latencies, 0.50),
            p99=_quantile(latencies, 0.99),
            profile=[] if self.profile is None else functions(self.profile),
            packages=[] if self.profile is None else packages(self.profile),
        )


class AsyncLoad:
    """Clients as tasks.

    Args:
        system: Open already.
    """

    def __init__(self, system: AsyncSystem) -> None:
        self._system = system
        self._done = 0

    async def measure(self, order: Measure) -> Measured:
        """Carry a measurement out."""
        window = _Window(
            order.clients, cProfile.Profile(time.process_time) if order.profile else None
        )
        stop = asyncio.Event()
        clients = [
            asyncio.create_task(self._client(number, window, stop))
            for number in range(order.clients)
        ]
        try:
            await _unless_ended(clients, order.warm)
            give_up = time.monotonic() + _WARM_AT_MOST
            while not window.is_warm and time.monotonic() < give_up:
                await _unless_ended(clients, _LOOK_EVERY)
            window.open()
            await _unless_ended(clients, order.seconds)
            measured = window.close()
        finally:
            stop.set()
            ended = await asyncio.gather(*clients, return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error
        return measured

    async def block(self, transactions: int) -> None:
        """One client, so many transactions."""
        for _ in range(transactions):
            await self._system.transact(row_of(0, self._done))
            self._done += 1

    async def _client(self, number: int, window: _Window, stop: asyncio.Event) -> None:
        done = 0
        while not stop.is_set():
            took = await self._system.transact(row_of(number, done))
            done += 1
            window.note(number, took)


class SyncLoad:
    """Clients as threads, watched from an event loop that has nothing else to do.

    Args:
        system: Open already.
    """

    def __init__(self, system: SyncSystem) -> None:
        self._system = system
        self._done = 0

    async def measure(self, order: Measure) -> Measured:
        """See `AsyncLoad.measure`."""
        window = _Window(order.clients)
        stop = threading.Event()
        errors: list[BaseException] = []
        clients = [
            threading.Thread(target=self._client, args=(number, window, stop, errors))
            for number in range(order.clients)
        ]
        for client in clients:
            client.start()
        stop.wait(order.warm)
        give_up = time.monotonic() + _WARM_AT_MOST
        while not window.is_warm and time.monotonic() < give_up and not stop.is_set():
            stop.wait(_LOOK_EVERY)
        window.open()
        stop.wait(order.seconds)
        measured = window.close()
        stop.set()
        for client in clients:
            client.join()
        if errors:
            raise errors[0]
        return measured

    async def block(self, transactions: int) -> None:
        """See `AsyncLoad.block`."""
        for _ in range(transactions):
            self._system.transact(row_of(0, self._done))
            self._done += 1

    def _client(
        self, number: int, window: _Window, stop: threading.Event, errors: list[BaseException]
    ) -> None:
        done = 0
        try:
            while not stop.is_set():
                took = self._system.transact(row_of(number, done))
                done += 1
                window.note(number, took)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever measures
            errors.append(error)
            stop.set()


async def _unless_ended(clients: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Let clients work; one that ends has failed."""
    ended, _ = await asyncio.wait(clients, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for client in ended:
        client.result()


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
