"""What one process takes for time, such that it can jump while the process works.

Only Python's clocks of this one process move: ``time.time``, ``time.monotonic`` and the event
loop's.  Servers, other processes and C libraries go by the machine's.
"""

from __future__ import annotations

import asyncio
import time

__all__ = ["MovableClock"]


class MovableClock:
    """Takes the place of this process's clocks.

    Args:
        loop: Whose timers follow, since asyncio's loops go by ``time.monotonic``.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wall = self._monotonic = 0.0
        self._loop = loop
        wall, monotonic = time.time, time.monotonic
        time.time = lambda: wall() + self._wall
        time.monotonic = lambda: monotonic() + self._monotonic

    def jump(self, wall: float, monotonic: float) -> tuple[float, float]:
        """Move both clocks at once.

        Args:
            wall: Seconds; negative: into the past, as after ``ntpdate``.
            monotonic: Seconds, never negative: no system's monotonic clock runs backwards, but
                it may be far ahead when a suspended machine goes on.

        Returns:
            By how much ``time.time`` and the loop's clock were seen to move.
        """
        before = time.time(), self._loop.time()
        self._wall += wall
        self._monotonic += max(0.0, monotonic)
        return time.time() - before[0], self._loop.time() - before[1]
