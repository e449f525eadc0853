"""Answers against databases: is what clients were told also what the banks show?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paxcommit.async_coordinator import AsyncCoordinator
from paxcommit.protocol.values import Outcome
from paxcommit.testing.bank import Verdict
from paxcommit.testing.demo.books import Books

__all__ = ["Reckoning", "ask_about", "reckon"]

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Every transfer that was begun, exactly once, and what does not agree.

    Attributes:
        committed, aborted, unknown: How many; together all that were begun.
        asked: How many clients had no answer, so that ``outcome()`` was asked.
        acknowledged_lost: Acknowledged as committed, and not to be found at both banks.
        false_answers: Answers that the databases contradict otherwise: an aborted transfer that
            can be found, one that ``outcome()`` calls committed and cannot, or one that nobody
            began.
    """

    committed: int
    aborted: int
    unknown: int
    asked: int
    acknowledged_lost: int
    false_answers: int


async def ask_about(coordinator: AsyncCoordinator, txids: Iterable[str]) -> Mapping[str, Outcome]:
    """Ask what became of transactions, and have those decided that are not."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def ask(txid: str) -> tuple[str, Outcome]:
        async with slots:
            return txid, await coordinator.outcome(txid, force=True)

    return dict(await asyncio.gather(*map(ask, sorted(txids))))


def reckon(books: Books, asked: Mapping[str, Outcome], verdict: Verdict) -> Reckoning:
    """Compare what clients were told, and what ``outcome()`` said, with the databases."""
    told = {outcome: {t for t, said in asked.items() if said is outcome} for outcome in Outcome}
    committed, aborted = told[Outcome.COMMITTED], told[Outcome.ABORTED]
    anywhere = verdict.committed | verdict.half_committed
    return Reckoning(
        committed=len(books.committed | committed),
        aborted=len(books.aborted | aborted),
        unknown=len(told[Outcome.OPEN]),
        asked=len(asked),
        acknowledged_lost=len(books.committed - verdict.committed),
        false_answers=len((books.aborted | aborted) & anywhere)
        + len(committed - verdict.committed)
        + len(anywhere - books.begun),
    )
