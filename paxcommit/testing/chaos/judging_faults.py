"""Whether the faults really were there, and what must hold of some of them."""

from __future__ import annotations

from collections.abc import Iterator

from paxcommit.testing.chaos.events import (
    MANUAL_ROLLBACK,
    RESTORED_ACCEPTOR,
    AcceptorRefused,
    AcceptorVoted,
    Deed,
)
from paxcommit.testing.chaos.judging_facts import Facts, Fault
from paxcommit.testing.chaos.verdict import Violation

__all__ = ["check_faults", "check_restored"]


def check_faults(facts: Facts) -> Iterator[Violation]:
    """Every fault begins once, ends, and is proven; every planned kind was made or skipped."""
    done: set[str] = set()
    for name, fault in facts.faults.items():
        yield from _fault(name, fault, facts)
        done |= {each.kind for _, each in fault.begun}
        done |= {each.kind for _, each in fault.skipped}
    for kind in facts.run.planned:
        if kind not in done:
            yield Violation("planned-fault-missing", (1,), kind)


def _fault(name: str, fault: Fault, facts: Facts) -> Iterator[Violation]:
    begun = tuple(line for line, _ in fault.begun)
    ended = tuple(line for line, _ in fault.ended)
    if not begun:
        if ended:
            yield Violation("fault-never-begun", ended, name)
        return
    said = f"{name}, {fault.begun[0][1].kind} of {fault.begun[0][1].target}"
    if len(begun) > 1:
        yield Violation("fault-begun-twice", begun, said)
    if fault.over is None:
        yield Violation("fault-not-ended", begun, said)
    elif not fault.skipped and not fault.proven:
        yield Violation("fault-without-proof", (*begun, *ended), said)
    elif fault.begun[0][1].kind == MANUAL_ROLLBACK and fault.proven and not any(facts.of(Deed)):
        yield Violation("fault-without-proof", (*begun, *ended), f"{said}: no deed is told")


def check_restored(facts: Facts) -> Iterator[Violation]:
    """R13: an acceptor put back from an old copy was asked, refused, and did not vote."""
    for name, fault in facts.faults.items():
        for line, begun in fault.begun:
            if begun.kind != RESTORED_ACCEPTOR or fault.skipped:
                continue
            over = min((at for at, _ in fault.ended), default=len(facts.events))
            refused = [
                at
                for at, each in facts.of(AcceptorRefused)
                if each.acceptor == begun.target and line < at < over
            ]
            if not refused:
                detail = f"{name}: {begun.target} refused nothing"
                yield Violation("restored-acceptor-never-refused", (line,), detail)
            for at, voted in facts.of(AcceptorVoted):
                if voted.acceptor == begun.target and line < at < over:
                    detail = f"{name}: {begun.target}: {voted.evidence}"
                    yield Violation("restored-acceptor-voted", (line, at), detail)
