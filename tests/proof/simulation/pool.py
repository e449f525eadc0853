"""What may happen next, in any order: the scheduler of a simulation, driven by one seed.

Nothing here has a time.  Things are due *soon* (messages, flushes), *later* (backoffs, attempts to
connect) or *last* (deadlines, messages that linger); with `haste` even that order is upset, for
safety may not rest on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

__all__ = ["Pool", "Thing"]

Thing: TypeAlias = Callable[[], None]
_T = TypeVar("_T")


class Pool:
    """The things that may happen, and the only source of randomness.

    Args:
        seed: Decides everything.
        trace: Collects what happened, in words; None saves the time.
    """

    def __init__(self, seed: int, trace: list[str] | None) -> None:
        self.random = random.Random(seed).random
        self.soon: list[Thing] = []
        self.later: list[Thing] = []
        self.last: list[Thing] = []
        self.haste = 0.0
        self.trace = trace

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return probability > 0.0 and self.random() < probability

    def pick(self, among: Sequence[_T]) -> _T:
        """Draw one; by index, so that no set's order can play a part."""
        return among[int(self.random() * len(among))]

    def bits(self, count: int) -> int:
        """Draw a number of so many bits."""
        return int(self.random() * 2**32) << (count - 32) | int(self.random() * 2 ** (count - 32))

    def step(self) -> bool:
        """Let one thing happen; False if nothing can."""
        if self.haste and self.random() < self.haste:
            queue = self.pick((self.soon, self.later, self.last)) or self.soon
        else:
            queue = self.soon
        queue = queue or self.later or self.last
        if not queue:
            return False
        self._take(queue)
        return True

    def time_passes(self) -> None:
        """Let one of the things happen that are due last."""
        if self.last:
            self._take(self.last)

    def _take(self, queue: list[Thing]) -> None:
        at = int(self.random() * len(queue))
        queue[at], queue[-1] = queue[-1], queue[at]
        queue.pop()()

    def say(self, line: str) -> None:
        """Add a line to the trace; callers guard it with ``if pool.trace is not None``."""
        if self.trace is not None:
            self.trace.append(line)
