"""Which F+1 acceptors a commit asks first, and after how long it asks the others as well.

Any F+1 will do (the paper's cost without failures counts no more), so the quick ones do the work,
and always the same ones: what is asked of few acceptors travels in fewer and fuller calls.  None of
this decides anything; a wrong guess costs a delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from paxcommit.protocol.messages import AcceptorName

__all__ = ["Choice", "Preference"]

_SMOOTH = 1 / 8
_SMOOTH_DEVIATION = 1 / 4
_DEVIATIONS = 4
"""How an expected time is kept, and what counts as late: RFC 6298, for much the same question."""

_FLOOR, _CEILING = 0.005, 0.25
"""Seconds; no hedge is earlier, for a busy event loop is not a slow acceptor, and none is later."""

_SLACK = 0.001
"""Seconds; whoever is preferred stays so unless another is quicker by this, and twice as quick."""

_USELESS = 10.0
"""Seconds that stand for an acceptor that does not vote."""

_EVERY = 256
"""One commit in so many asks all acceptors at once: those left out are measured now and then, and
nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to ask.

    Attributes:
        acceptors: All 2F+1, those to ask first in front.
        hedge: Seconds after which to ask all others, too; 0: ask all at once.
    """

    acceptors: tuple[AcceptorName, ...]
    hedge: float


@dataclass(slots=True)
class _Estimate:
    """What one acceptor's calls are known to take, in seconds."""

    smoothed: float = 0.0
    deviation: float = 0.0
    asked: float | None = None
    """When the call that is under way began."""

    def take(self, seconds: float) -> None:
        difference = seconds - self.smoothed
        if self.smoothed in (0.0, _USELESS):
            self.smoothed, self.deviation = seconds, seconds / 2
        else:
            self.smoothed += _SMOOTH * difference
            self.deviation += _SMOOTH_DEVIATION * (abs(difference) - self.deviation)

    def expected(self, now: float) -> float:
        """Of the next call; a call that is late already counts as what it has taken so far."""
        return max(self.smoothed, now - self.asked if self.asked is not None else 0.0)


class Preference:
    """See the module.  Safe to share between threads.

    Args:
        acceptors: All 2F+1.
        clock: Tells seconds, monotonically.
    """

    def __init__(
        self, acceptors: Sequence[AcceptorName], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._order = tuple(acceptors)
        self._quorum = len(acceptors) // 2 + 1
        self._clock = clock
        self._lock = threading.Lock()
        self._estimates = {name: _Estimate() for name in acceptors}
        self._chosen = 0

    def asked(self, name: AcceptorName) -> None:
        """A call to an acceptor begins."""
        self._estimates[name].asked = self._clock()

    def answered(self, name: AcceptorName, *, well: bool) -> None:
        """It has ended; if not well, the acceptor counts as slow until it answers well again."""
        with self._lock:
            estimate = self._estimates[name]
            took = self._clock() - estimate.asked if estimate.asked is not None else 0.0
            estimate.asked = None
            if well:
                estimate.take(took)
            else:
                estimate.smoothed, estimate.deviation = _USELESS, 0.0

    def choose(self, admitted: Collection[AcceptorName], limit: float) -> Choice:
        """Tell whom the next commit asks.

        Args:
            admitted: Acceptors that can be asked now; the others come last.
            limit: Seconds; no hedge is later.
        """
        with self._lock:
            now = self._clock()
            expected = {
                name: estimate.expected(now) if name in admitted else float("inf")
                for name, estimate in self._estimates.items()
            }
            first, rest = self._order[: self._quorum], self._order[self._quorum :]
            slowest = max(expected[name] for name in first)
            if rest and slowest > 2 * min(expected[name] for name in rest) + _SLACK:
                self._order = tuple(sorted(self._order, key=lambda name: expected[name]))
                first = self._order[: self._quorum]
            self._chosen += 1
            if not rest or self._chosen % _EVERY == 1:
                return Choice(self._order, 0.0)
            return Choice(self._order, min(self._patience(first), limit))

    def _patience(self, names: Sequence[AcceptorName]) -> float:
        # Twice: a request may have to wait until the call before it has ended.
        late = max(
            2 * each.smoothed + _DEVIATIONS * each.deviation
            for each in (self._estimates[name] for name in names)
        )
        return min(max(late, _FLOOR), _CEILING)
