"""The judge: a history in, a verdict out; pure, offline, and knowing nothing else of the run.

Each check is a function from facts to violations, in a module of its own.  A history that is not
whole never gets here (`read_history` refuses it).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeAlias

from paxcommit.testing.chaos.events import (
    Answered,
    Begun,
    DamageReported,
    Deed,
    InDoubt,
    Recovered,
)
from paxcommit.testing.chaos.history import History
from paxcommit.testing.chaos.judging_amount import check_amount, check_liveness, fired
from paxcommit.testing.chaos.judging_answers import check_answers, check_readers
from paxcommit.testing.chaos.judging_books import check_books, check_damage
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.judging_faults import check_faults, check_restored
from paxcommit.testing.chaos.judging_money import check_leftovers, check_money
from paxcommit.testing.chaos.judging_order import check_order, check_processes
from paxcommit.testing.chaos.verdict import Latency, Verdict, Violation
from paxcommit.testing.demo.result import percentile

__all__ = ["judge"]

_Check: TypeAlias = Callable[[Facts], Iterator[Violation]]
_CHECKS: tuple[_Check, ...] = (
    check_books,
    check_money,
    check_leftovers,
    check_damage,
    check_answers,
    check_readers,
    check_order,
    check_processes,
    check_faults,
    check_restored,
    check_liveness,
    check_amount,
)


def judge(history: History) -> Verdict:
    """Judge a run by its history; the same history always gets the same verdict."""
    facts = Facts(history)
    violations = tuple(found for check in _CHECKS for found in check(facts))
    names = Counter(each.name for each in violations)
    answers = Counter(each.answer for _, each in facts.of(Answered))
    open_ = [
        each for each in facts.transactions.values() if each.begun and not each.answered_finally
    ]
    kinds = fired(facts)
    samples = [each for _, each in facts.of(InDoubt)]
    whole, inside, outside = _latencies(facts)
    return Verdict(
        run=facts.run,
        duration=round(facts.last, 3),
        violations=violations,
        begun=len({each.txid for _, each in facts.of(Begun)}),
        committed=answers["committed"],
        aborted=answers["aborted"],
        unknown=answers["unknown"],
        unanswered=sum(not each.answers for each in open_),
        unknown_resolved=sum(
            bool(each.asked) and each.asked[-1][1].outcome != "open" for each in open_
        ),
        recoveries=len({each.txid for _, each in facts.of(Recovered)}),
        half_committed=names["half-committed"],
        prepared_left=names["prepared-left"],
        locks_left=names["locks-left"],
        deeds=sum(1 for _ in facts.of(Deed)),
        damage_reported=len({(e.txid, e.participant) for _, e in facts.of(DamageReported)}),
        latency=whole,
        latency_in_faults=inside,
        latency_outside=outside,
        in_doubt_max=max((each.count for each in samples), default=0),
        in_doubt_age_max=round(max((each.oldest for each in samples), default=0.0), 3),
        faults=kinds,
        skipped={
            each.kind: each.reason
            for fault in facts.faults.values()
            for _, each in fault.skipped
            if each.kind not in kinds
        },
    )


def _latencies(facts: Facts) -> tuple[Latency, Latency, Latency]:
    """Of all commits, of those with a fault at any time while they ran, and of the rest."""
    inside: list[float] = []
    outside: list[float] = []
    for _, each in facts.of(Answered):
        if each.answer == "committed":
            there = facts.in_fault(each.at - each.took, each.at)
            (inside if there else outside).append(each.took * 1000)
    return _latency(inside + outside), _latency(inside), _latency(outside)


def _latency(values: list[float]) -> Latency:
    return Latency(round(percentile(values, 0.5), 1), round(percentile(values, 0.99), 1))
