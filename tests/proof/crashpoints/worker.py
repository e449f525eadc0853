"""Runs cases: forks the processes of one, and judges what they left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from . import jobs, threads
from .cases import Act, Case
from .children import Process, Told, fork
from .examiner import Examiner, Facts
from .stage import Books
from .verdict import violations

__all__ = ["Run", "Violation", "Worker"]

_JOBS = {"asyncpg": jobs, "threads": threads}


@dataclass(frozen=True, slots=True)
class Run:
    """One case that was run.

    Attributes:
        case: The case.
        told: What the coordinator told.
        recoverer: What the recoverer told, if there was one.
        facts: What the databases say.
        violation: What is wrong; empty if nothing is.
    """

    case: Case
    told: Told
    recoverer: Told | None
    facts: Facts
    violation: str

    @property
    def happened(self) -> bool:
        """Whether what was to be done to the processes was done."""
        return _was_done(self.case.coordinator, self.told) and (
            self.recoverer is None or _was_done(self.case.recoverer, self.recoverer)
        )


class Violation(Exception):
    """Something is wrong.

    Attributes:
        run: What showed it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        super().__init__(run.violation)


class Worker:
    """Runs cases on databases of its own.

    Args:
        books: By number of participants.
    """

    def __init__(self, books: Mapping[int, Books]) -> None:
        self._books = books
        self._examiners = {n: Examiner(each) for n, each in books.items()}

    def run(self, *cases: Case) -> list[Run]:
        """Run cases of one number of participants, surface and order, in one process each."""
        first = cases[0]
        books, examiner = self._books[first.n], self._examiners[first.n]
        work = _JOBS[first.surface]
        process = Process(lambda tell: work.coordinate(cases, books, tell), len(cases))
        stopped = process.until_stopped()
        told = process.told if stopped else process.finish()
        if not stopped:
            examiner.wait_until_gone()
        txids: list[str | None] = [each.values.get("txid") for each in told]
        recoverers: dict[int, Told] = {}
        if first.recovered:
            left = {number: txid for number, txid in enumerate(txids) if txid is not None}
            theirs = [cases[number] for number in left]
            spelt = list(left.values())
            if left:
                heard = fork(lambda tell: work.recover(theirs, spelt, books, tell), len(left))
                recoverers = dict(zip(left, heard, strict=True))
        if stopped:
            process.wake()
            process.finish()
        examiner.wait_until_gone()
        facts = examiner.examine(txids, force=first.force)
        runs = []
        for number, case in enumerate(cases):
            recoverer = recoverers.get(number)
            found = "; ".join(violations(case, told[number], recoverer, facts[number]))
            runs.append(Run(case, told[number], recoverer, facts[number], found))
        return runs

    def close(self) -> None:
        """End the examiners."""
        for examiner in self._examiners.values():
            examiner.dismiss()
        for examiner in self._examiners.values():
            examiner.wait()


def _was_done(act: Act | None, told: Told) -> bool:
    if act is None:
        return True
    if act.deed == "kill":
        return told.killed and act.point in told.points
    if act.deed == "stop":
        return told.values.get("stopped") == act.point
    return act.point in told.cut
