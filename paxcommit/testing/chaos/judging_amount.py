"""Whether enough was done to say anything, and whether anybody was blocked without a fault."""

from __future__ import annotations

from collections.abc import Iterator

from paxcommit.testing.chaos.events import Answered, Begun, InDoubt, Recovered
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.verdict import Violation

__all__ = [
    "BLOCKED_SECONDS",
    "MINIMUM_KINDS",
    "MINIMUM_PER_SECOND",
    "STALLED_SECONDS",
    "check_amount",
    "check_liveness",
    "fired",
]

MINIMUM_PER_SECOND = 2
"""Transactions begun, for each second of the run; far below what a laptop does."""

MINIMUM_KINDS = 12
"""Kinds of fault that must have fired in a thorough run."""

STALLED_SECONDS = 15.0
"""For so long, without a fault, something must have committed."""

BLOCKED_SECONDS = 15.0
"""No branch stays in doubt for longer without a fault."""

_UNKNOWN_SECONDS = 60.0


def fired(facts: Facts) -> dict[str, int]:
    """Per kind, how many faults fired, with proof."""
    counts: dict[str, int] = {}
    for fault in facts.faults.values():
        if fault.begun and fault.proven:
            kind = fault.begun[0][1].kind
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def check_amount(facts: Facts) -> Iterator[Violation]:
    """A run that did too little fails: it shows nothing."""
    run = facts.run
    begun = sum(1 for _ in facts.of(Begun))
    if begun < MINIMUM_PER_SECOND * run.seconds:
        least = int(MINIMUM_PER_SECOND * run.seconds)
        detail = f"{begun} in {run.seconds:g} s; at least {least}"
        yield Violation("too-few-transactions", (1,), detail)
    answers = [each.answer for _, each in facts.of(Answered)]
    if "committed" not in answers:
        yield Violation("no-commits", (1,), f"{len(answers)} answers")
    if "aborted" not in answers:
        yield Violation("no-aborts", (1,), f"{len(answers)} answers")
    if not any(facts.of(InDoubt)):
        yield Violation("not-watched", (1,), "no sample of branches in doubt")
    if not run.thorough:
        return
    if run.seconds >= _UNKNOWN_SECONDS and all(
        each.answered_finally for each in facts.transactions.values() if each.begun
    ):
        yield Violation("no-unknowns", (1,), f"every one of {begun} clients was told")
    if not any(facts.of(Recovered)):
        yield Violation("no-recoveries", (1,), f"{begun} transactions")
    kinds = fired(facts)
    if len(kinds) < MINIMUM_KINDS:
        detail = f"{len(kinds)} kinds fired, at least {MINIMUM_KINDS} are needed: "
        yield Violation("too-few-faults", (1,), detail + (", ".join(kinds) or "none"))


def check_liveness(facts: Facts) -> Iterator[Violation]:
    """Without a fault, work goes on and doubt ends."""
    for line, sample in facts.of(InDoubt):
        if sample.oldest > BLOCKED_SECONDS and not facts.in_fault(
            sample.at - BLOCKED_SECONDS, sample.at
        ):
            detail = f"the oldest of {sample.count} for {sample.oldest:.1f} s, at {sample.at:.1f} s"
            yield Violation("blocked", (line,), detail)
    begun = [each.at for _, each in facts.of(Begun)]
    if not begun:
        return
    commits = [(each.at, line) for line, each in facts.of(Answered) if each.answer == "committed"]
    above, lines = begun[0], (next(facts.of(Begun))[0],)
    for at, line in [*commits, (begun[-1], 0)]:
        if _clear(facts, above, at) > STALLED_SECONDS:
            detail = f"no commit from {above:.1f} s to {at:.1f} s"
            yield Violation("stalled", (*lines, line) if line else lines, detail)
        above, lines = at, (line,)


def _clear(facts: Facts, start: float, end: float) -> float:
    """The longest stretch without a fault between `start` and `end`."""
    if end - start <= STALLED_SECONDS:
        return end - start
    longest, at = 0.0, start
    for window in facts.windows:
        if window.end >= start and window.start <= end:
            longest, at = max(longest, window.start - at), max(at, window.end)
    return max(longest, end - at)
