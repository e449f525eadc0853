"""The same workload under plain two-phase commit: one SIGKILL, and accounts stay locked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from paxcommit.errors import ClusterError
from paxcommit.testing.demo.books import Books
from paxcommit.testing.demo.kills import PATIENCE
from paxcommit.testing.demo.locks import Held, Locks
from paxcommit.testing.demo.processes import Coordinator, Workshop
from paxcommit.testing.demo.screen import Screen

__all__ = ["Blocked", "show_blocking"]

_STEP = "two-phase:prepared"
_WARM_UP = 1.0
_MARK = "two-phase-"
_REACH_SECONDS = 15.0
_LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Blocked:
    """What plain two-phase commit came to.

    Attributes:
        transfers: Begun before the kill.
        in_doubt: Branches that the kill left prepared.
        accounts: Locked by them.
        queueing: Server processes that wait for those locks, for a client that is dead.
        waited_ms: Milliseconds after which they were still locked.
        blocked: Whether they were, every one of them, right after the kill and after the wait.
        free: Whether the accounts could be used once the branches were finished by hand.
    """

    transfers: int
    in_doubt: int
    accounts: int
    queueing: int
    waited_ms: float
    blocked: bool
    free: bool


async def show_blocking(
    workshop: Workshop, locks: Locks, screen: Screen, *, seed: int, wait: float
) -> Blocked:
    """Kill a coordinator between PREPARE and COMMIT PREPARED, wait, and clean up by hand.

    Args:
        workshop: For the coordinator's process.
        locks: Sessions to the banks.
        screen: Hears of it.
        seed: Which transfers.
        wait: Seconds after which the accounts are tried again.
    """
    books = Books()
    coordinator = await Coordinator.employ(
        workshop, "two-phase", books, "--two-phase", "--seed", str(seed)
    )
    try:
        await coordinator.opened()
        await asyncio.sleep(_WARM_UP)
        if not await coordinator.stops_at(_STEP, _REACH_SECONDS):
            raise ClusterError(f"no transfer was prepared in time: {coordinator.log}")
        coordinator.kill()
    finally:
        await coordinator.destroy()
    held = await _settled(locks, coordinator.name)
    accounts = await locks.locked_accounts()
    screen.line(
        f"  its coordinator was killed between PREPARE and COMMIT PREPARED: "
        f"{len(held.branches)} branches in doubt, {len(accounts)} accounts locked"
    )
    blocked = bool(accounts) and await _all_blocked(locks, accounts)
    await asyncio.sleep(wait)
    blocked = blocked and await _all_blocked(locks, accounts)
    screen.line(
        f"  {wait:.1f} s later they are {'still' if blocked else 'no longer'} locked; only "
        f"COMMIT PREPARED or ROLLBACK PREPARED by hand, branch by branch, ends that"
    )
    await _by_hand(locks, held.branches)
    _, free = await locks.until_free(_MARK, coordinator.name, seconds=PATIENCE)
    screen.line(f"  {len(held.branches)} branches were finished by hand")
    return Blocked(
        transfers=len(books.begun),
        in_doubt=len(held.branches),
        accounts=len(accounts),
        queueing=held.waiting,
        waited_ms=wait * 1000,
        blocked=blocked,
        free=free,
    )


async def _settled(locks: Locks, process: str) -> Held:
    """Wait until nothing happens for the dead process any more."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        held = await locks.held(_MARK, process)
        if held.backends == held.waiting:
            return held
        await asyncio.sleep(_LOOK_EVERY)
    raise ClusterError(f"the banks still work for {process}, which is dead")


async def _all_blocked(locks: Locks, accounts: list[tuple[str, int]]) -> bool:
    # One after the other: each is a session's attempt with a timeout of its own.
    for bank, account in accounts:
        if not await locks.is_blocked(bank, account):
            return False
    return True


async def _by_hand(locks: Locks, branches: frozenset[tuple[str, str]]) -> None:
    """Do what an operator has to: look at the other bank, branch by branch, then decide."""
    for bank, txid in sorted(branches):
        told = [other for other in locks.banks if await locks.has_transfer(other, txid)]
        await locks.finish(bank, txid, commit=bool(told))
