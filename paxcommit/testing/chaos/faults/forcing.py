"""Somebody forces the outcome of transactions that are under way (R23).

Their coordinator stands still meanwhile; when it goes on it must accept what was decided.
"""

from __future__ import annotations

import asyncio
import signal

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.errors import ClusterError
from paxcommit.protocol.values import Outcome
from paxcommit.testing.chaos.events import Asked
from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.faults.kills import STEPS

__all__ = ["KINDS"]

_REACH_SECONDS = 2.0
_FORCE_SECONDS = 5.0
_BY = "force-outcome"


async def _force(occurrence: Occurrence) -> Proof:
    stage = occurrence.stage
    try:
        async with AsyncCoordinator.open(stage.settings, driver=stage.driver_name) as coordinator:
            return await _force_with(occurrence, coordinator)
    except ClusterError as error:
        raise NotMade(f"nobody can force anything now: {error}") from error


async def _force_with(occurrence: Occurrence, coordinator: AsyncCoordinator) -> Proof:
    worker = await occurrence.working(occurrence.staff.coordinators)
    step = occurrence.random.choice(STEPS)
    if step and not await worker.stops_at(step, _REACH_SECONDS):
        step = ""
    occurrence.begin(f"{worker.name}, {'at ' + step if step else 'at some instant'}")
    worker.signal(signal.SIGSTOP)
    outcomes: list[Outcome] = []

    async def force(txid: str) -> None:
        async with asyncio.timeout(_FORCE_SECONDS):
            outcome = await coordinator.outcome(txid, force=True)
        occurrence.note(Asked(0.0, txid, outcome.value, _BY, forced=True))
        outcomes.append(outcome)

    try:
        txids = list(worker.writing)
        answers = await asyncio.gather(*map(force, txids), return_exceptions=True)
    finally:
        worker.signal(signal.SIGCONT)
    failed = [each for each in answers if each is not None]
    for error in failed:
        if not isinstance(error, ClusterError | TimeoutError):  # other faults are under way
            raise error
    return {
        "count": sum(outcome is not Outcome.OPEN for outcome in outcomes),
        "known by": "what outcome(force=True) answered",
        "committed": outcomes.count(Outcome.COMMITTED),
        "aborted": outcomes.count(Outcome.ABORTED),
        "still open": outcomes.count(Outcome.OPEN),
        "not answered": len(failed),
    }


KINDS = (
    Kind(
        "force-outcome",
        "outcome(force=True) on what is under way, while its coordinator stands still; then it"
        " goes on.",
        "processes",
        _force,
    ),
)
"""Forced outcomes."""
