"""Where coordinators are killed, and how long what they held stays locked."""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random

from paxcommit.testing.demo.locks import Locks
from paxcommit.testing.demo.processes import Coordinator

__all__ = ["Blow", "Kill", "Moment", "blows", "strike"]

_REACH_SECONDS = 3.0
_RANDOM_SECONDS = 0.3

PATIENCE = 20.0
"""Seconds after which locks count as left behind."""


class Moment(enum.Enum):
    """When in a commit the blow falls."""

    UNDECIDED = "after PREPARE, before the decision"
    DECIDED = "decided, before COMMIT PREPARED"
    ANY = "at a random instant"


@dataclass(frozen=True, slots=True)
class Blow:
    """A SIGKILL to come.

    Attributes:
        moment: When it falls.
        step: The failpoint at which it falls; None for any instant.
    """

    moment: Moment
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """A SIGKILL that fell.

    Attributes:
        moment: When it fell.
        in_doubt: Branches that the dead process left prepared.
        recovery_ms: Milliseconds from the SIGKILL until nothing of that process held a lock.
        free: Whether that was so within `PATIENCE`.
    """

    moment: Moment
    in_doubt: int
    recovery_ms: float
    free: bool


def blows(acceptors: Sequence[str], banks: Sequence[str]) -> Iterator[Blow]:
    """Name the blows to deal, without end."""
    return cycle(
        (
            Blow(Moment.UNDECIDED, f"phase2a:{acceptors[0]}.before"),  # nobody was asked to vote
            Blow(Moment.DECIDED, "tell:committed"),  # nobody was told
            Blow(Moment.ANY),
            Blow(Moment.UNDECIDED, f"prepare:{banks[0]}.after"),  # perhaps one bank only
            Blow(Moment.DECIDED, f"commit-prepared:{banks[-1]}.before"),  # one bank was told
            Blow(Moment.ANY),
            Blow(Moment.UNDECIDED, f"phase2a:{acceptors[0]}.after"),  # one of three votes
        )
    )


async def strike(coordinator: Coordinator, blow: Blow, locks: Locks, random: Random) -> Kill:
    """Kill a coordinator at its moment, and wait until it holds nothing any more.

    Raises:
        ClusterError: It ended by itself before.
    """
    moment = blow.moment
    if blow.step is None:
        await asyncio.sleep(random.uniform(0, _RANDOM_SECONDS))
    elif not await coordinator.stops_at(blow.step, _REACH_SECONDS):
        moment = Moment.ANY
    struck = time.perf_counter()
    coordinator.kill()
    branches, free = await locks.until_free(
        f"-{coordinator.incarnation}-", coordinator.name, seconds=PATIENCE
    )
    recovery = time.perf_counter() - struck
    await coordinator.gone()
    return Kill(moment, len(branches), recovery * 1000, free)
