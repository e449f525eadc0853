"""How long the runtime waits and backs off; none of it decides anything (safety has no clock)."""

from __future__ import annotations

from dataclasses import dataclass

import tenacity
from tenacity.wait import wait_base

__all__ = [
    "MAX_BATCH",
    "MAX_QUEUED",
    "Timing",
    "backoff_delay",
    "pause_between_looks",
    "reconnect_wait",
]

MAX_BATCH = 256
"""Requests that one call to an acceptor carries at most."""

MAX_QUEUED = 10_000
"""What may wait for one link; more ends at once in no answer.  A transaction asks an acceptor one
thing at a time, and has a connection at every participant while it does, so this is never near."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Times, in seconds.

    Attributes:
        connect: For opening one connection.
        acceptor: For one call to an acceptor; after it the answer is Unknown.
        participant: For one statement sequence on a standing connection.
        heartbeat: An idle link is tried this often, so that a lost lock is retaken at once (R26).
    """

    connect: float = 5.0
    acceptor: float = 3.0
    participant: float = 5.0
    heartbeat: float = 1.0


def reconnect_wait() -> wait_base:
    """How long to wait between two attempts to connect: random, growing, at most a second."""
    return tenacity.wait_random_exponential(multiplier=0.05, max=1.0)


_CROWD = 2000


def pause_between_looks(poll_interval: float, branches: int) -> float:
    """How long a recoverer waits before it lists what is prepared again.

    A look costs as much as its list is long, and a crowd that is being finished is in it again and
    again: with the same pause throughout, ten thousand transactions took twice as long.

    Args:
        poll_interval: Seconds, with nothing to see.
        branches: How many the last look saw.
    """
    return poll_interval * (1 + branches / _CROWD)


_BACKOFF = tenacity.wait_random_exponential(multiplier=0.02, max=1.0)


def backoff_delay(attempt: int) -> float:
    """Draw a random delay in seconds that grows with `attempt`; it ends duels of leaders (R25)."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    return float(_BACKOFF(state))
