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
    lock: threading.Lock = field(compare=False, default_factory=threading.Lock)

    def go_off(self) -> None:
        with self.lock:
            ring, self.ring = self.ring, None
            if ring is not None:
                ring()

    def cancel(self) -> None:
        with self.lock:  # once we return, it will not ring: a pool may lend the session again
            self.ring = None


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
            closed = self._closed
            if not closed:
                heapq.heappush(self._alarms, alarm)
                if self._alarms[0] is alarm:
                    self._changed.notify()
        if closed:
            alarm.go_off()
        return alarm.cancel

    @contextlib.contextmanager
    def limit(self, seconds: float, ring: Callable[[], None]) -> Iterator[None]:
        """Call `ring` unless the block ends within `seconds`."""
        cancel = self.after(seconds, ring)
        try:
            yield
        finally:
            cancel()

    def close(self) -> None:
        """Let everything go off now: whoever waits for a timer would wait for ever."""
        with self._changed:
            self._closed = True
            left, self._alarms = sorted(self._alarms), []
            self._changed.notify()
        for alarm in left:
            alarm.go_off()

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
                alarm = heapq.heappop(self._alarms)
            alarm.go_off()
