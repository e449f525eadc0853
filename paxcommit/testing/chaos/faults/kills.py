"""Processes that die."""

from __future__ import annotations

import asyncio
import signal

from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.processes import Worker

__all__ = ["KINDS", "STEPS"]

_REACH_SECONDS = 2.0

STEPS = (
    "prepare:*.before",
    "prepare:*.after",
    "phase2a:*.before",
    "phase2a:*.after",
    "tell:committed",
    "commit-prepared:*.before",
    "commit-prepared:*.after",
    "commit-only:*.before",
    "",
)
"""Steps of commit at which a coordinator is worth stopping; the last means any instant."""


async def _kill(worker: Worker) -> Proof:
    worker.kill()
    await worker.over.wait()
    return {
        "count": int(worker.status == -signal.SIGKILL),
        "known by": "waitpid",
        "pid": worker.pid,
        "signal": signal.SIGKILL.value,
    }


async def _kill_coordinator(occurrence: Occurrence) -> Proof:
    worker = await occurrence.working(occurrence.staff.coordinators)
    step = occurrence.random.choice(STEPS)
    if step and not await worker.stops_at(step, _REACH_SECONDS):
        step = ""
    if not worker.running:
        raise NotMade(f"{worker.name} had ended")
    occurrence.begin(f"{worker.name}, {'at ' + step if step else 'at some instant'}")
    return await _kill(worker)


async def _kill_recoverer(occurrence: Occurrence) -> Proof:
    worker = await occurrence.working(occurrence.staff.recoverers)
    await asyncio.sleep(occurrence.random.uniform(0, occurrence.seconds))
    if not worker.running:
        raise NotMade(f"{worker.name} had ended")
    occurrence.begin(worker.name)
    return await _kill(worker)


KINDS = (
    Kind(
        "kill-coordinator",
        "SIGKILL of a coordinator's process, at a step of commit or at any instant.",
        "processes",
        _kill_coordinator,
    ),
    Kind("kill-recoverer", "SIGKILL of a recoverer.", "processes", _kill_recoverer),
)
"""Processes that die."""
