"""Processes that stand still and go on later: zombies (trap 30), and clocks that jump."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.faults.kills import STEPS
from paxcommit.testing.chaos.processes import Worker

__all__ = ["KINDS"]

_REACH_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_AFTER_DEADLINE = 0.7
_JUMPS = (30.0, 600.0, 86_400.0)


def _state(pid: int) -> str:
    """A process's state by the kernel's own account; empty where there is no ``/proc``."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


async def _stands_still(pid: int) -> bool:
    for _ in range(int(_LOOK_SECONDS / 0.01)):
        if _state(pid) == "T":
            return True
        await asyncio.sleep(0.01)
    return False


async def _pause(occurrence: Occurrence, worker: Worker, seconds: float) -> dict[str, int | str]:
    """Stop a process that may have stopped itself already, and let it go on."""
    try:
        worker.signal(signal.SIGSTOP)
        stopped = await _stands_still(worker.pid)
        await asyncio.sleep(seconds)
        still = _state(worker.pid) == "T"
    finally:
        worker.signal(signal.SIGCONT)
    if not stopped and not _state(os.getpid()):
        raise NotMade("without /proc there is no telling whether a process stands still")
    return {
        "count": int(stopped and still and worker.running),
        "known by": "state T in /proc",
        "pid": worker.pid,
    }


async def _branches(occurrence: Occurrence, incarnation: str) -> set[str]:
    found: set[str] = set()
    for bank in occurrence.stage.banks:
        with contextlib.suppress(DatabaseError, Unanswered):  # other faults are under way
            rows = await occurrence.stage.rows(
                bank,
                "select gid from pg_prepared_xacts"
                " where database = current_database() and strpos(gid, $1::text) > 0",
                f"-{incarnation}-",
            )
            found |= {gid for (gid,) in rows}
    return found


async def _pause_coordinator(occurrence: Occurrence) -> Proof:
    worker = await occurrence.working(occurrence.staff.coordinators)
    step = occurrence.random.choice(STEPS)
    if step and not await worker.stops_at(step, _REACH_SECONDS):
        step = ""
    if not worker.running:
        raise NotMade(f"{worker.name} had ended")
    occurrence.begin(f"{worker.name}, {'at ' + step if step else 'at some instant'}")
    worker.signal(signal.SIGSTOP)
    answers = worker.answers
    try:
        # Longer than the deadline: recovery has taken its transactions when it wakes up.
        before = await _branches(occurrence, worker.incarnation)
    finally:
        proof = await _pause(
            occurrence, worker, occurrence.stage.settings.deadline + _AFTER_DEADLINE
        )
    left = await _branches(occurrence, worker.incarnation)
    return {
        **proof,
        "branches when it stopped": len(before),
        "of these left when it went on": len(before & left),
        "answers before": answers,
    }


async def _pause_recoverer(occurrence: Occurrence) -> Proof:
    worker = await occurrence.working(occurrence.staff.recoverers)
    occurrence.begin(worker.name)
    return await _pause(occurrence, worker, occurrence.seconds)


async def _clock_jump(occurrence: Occurrence) -> Proof:
    worker = await occurrence.working(occurrence.staff.coordinators)
    random = occurrence.random
    wall = random.choice(_JUMPS) * random.choice((1, -1))
    ahead = random.choice((0.0, *_JUMPS))
    occurrence.begin(f"{worker.name}: wall clock by {wall:+g} s, monotonic by {ahead:+g} s")
    jumps = [(wall, ahead), (-wall, random.choice(_JUMPS))]
    seen = []
    try:
        for jump in jumps:
            worker.command(f"jump {jump[0]} {jump[1]}")
            async with asyncio.timeout(5.0):
                seen.append(await worker.jumps.get())
            await asyncio.sleep(occurrence.seconds / 2)
    except TimeoutError:
        if not seen:
            raise NotMade(f"{worker.name} did not answer") from None
    return {
        "count": sum(abs(each.wall) > 1 or each.monotonic > 1 for each in seen),
        "known by": "the process itself, which read its clocks before and after",
        "wall": round(seen[0].wall, 3),
        "monotonic": round(seen[0].monotonic, 3),
    }


KINDS = (
    Kind(
        "pause-coordinator",
        "SIGSTOP of a coordinator until its transactions' deadlines are over, then SIGCONT:"
        " the zombie that wakes up.",
        "processes",
        _pause_coordinator,
    ),
    Kind("pause-recoverer", "SIGSTOP of a recoverer, then SIGCONT.", "processes", _pause_recoverer),
    Kind(
        "clock-jump",
        "What a coordinator's process takes for time jumps: its wall clock back or forth, its"
        " monotonic clock ahead. The servers' clocks stay.",
        "processes",
        _clock_jump,
    ),
)
"""Processes that stand still or lose track of time."""
