"""Time limits for blocking calls: one thread that cuts connections whose time is up."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Watchdog"]


@dataclass(slots=True, order=True)
class _Alarm:
    at: float
    number: int
    ring: Callable[[], None] | None = field(compare=False)


class Watchdog:
    """Calls functions at their time, unless told in time that it is no longer needed."""

    def __init__(self) -> None:
        self._alarms: list[_Alarm] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name="paxcommit watchdog", daemon=True)
        self._thread.start()

    def after(self, seconds: float, ring: Callable[[], None]) -> Callable[[], None]:
        """Call `ring` after `seconds`, on the watchdog's thread; the result cancels that."""
        alarm = _Alarm(time.monotonic() + seconds, next(self._numbers), ring)
        with self._changed:
            heapq.heappush(self._alarms, alarm)
            if self._alarms[0] is alarm:
                self._changed.notify()

        def cancel() -> None:
            alarm.ring = None

        return cancel

    @contextlib.contextmanager
    def limit(self, seconds: float, ring: Callable[[], None]) -> Iterator[None]:
        """Call `ring` unless the block ends within `seconds`."""
        cancel = self.after(seconds, ring)
        try:
            yield
        finally:
            cancel()

    def close(self) -> None:
        """Ring no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (
                    not self._alarms or self._alarms[0].at > time.monotonic()
                ):
                    pause = self._alarms[0].at - time.monotonic() if self._alarms else None
                    self._changed.wait(pause)
                if self._closed:
                    return
                ring = heapq.heappop(self._alarms).ring
            if ring is not None:
                ring()
