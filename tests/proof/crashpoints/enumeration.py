"""Which cases there are: found by running, so that the list is complete by construction.

A run to which nothing happens tells the points that there are; then something happens at each of
them, and whatever else is passed on the way is added, until nothing is new.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

from .cases import CUTS, Case, Order, Scenario
from .crew import Crew
from .worker import Run, Violation

__all__ = ["Enumeration", "Part"]

Part: TypeAlias = Literal["singles", "pairs", "cuts", "zombies", "sync"]

_MANY = 16
_TRIES = 10
"""Left to itself, a process may pass a point only now and then."""
_NAMED = ("phase2a:a1.before", "tell:committed")
"""Failpoints at which a coordinator leaves an undecided, and a decided, transaction."""
_ORDERS: tuple[Order, ...] = ("fifo", "lifo")


class Enumeration:
    """Finds the cases of each part, and runs them.

    Args:
        crew: Runs them.
        hear: Hears of every case that counts, and of its run.
        sample: How many cases of each part to run, evenly spread; 0: all.
        listing: Whether to run none, and hear of all that are known without running any.
    """

    def __init__(
        self,
        crew: Crew,
        hear: Callable[[Part, Case, Run | None], None],
        *,
        sample: int = 0,
        listing: bool = False,
    ) -> None:
        self._crew = crew
        self._hear = hear
        self._sample = sample
        self._listing = listing
        self._listed: dict[Case, None] | None = None

    def run(self, part: Part, n: int) -> None:
        """Run a part's cases with `n` participants.

        Raises:
            Violation: By a run that shows something wrong.
        """
        enumerate_part = {
            "singles": self._singles,
            "pairs": self._pairs,
            "cuts": self._cuts,
            "zombies": self._zombies,
            "sync": self._sync,
        }[part]
        if not (self._sample or self._listing):
            enumerate_part(n)
            return
        self._listed = {}
        enumerate_part(n)
        cases, self._listed = _spread(list(self._listed), self._sample), None
        if self._listing:
            for case in cases:
                self._hear(part, case, None)
        else:
            self._sweep(part, cases)

    # --- the parts ------------------------------------------------------------------------------

    def _singles(self, n: int) -> None:
        for scenario in get_args(Scenario):
            for order in _ORDERS if scenario == "commit" else _ORDERS[:1]:
                base = Case(scenario, n, order=order)
                points = self._explore("singles", base)
                if scenario in ("commit", "lone") and order == _ORDERS[0]:
                    self._forced(base, points)
        for order in _ORDERS:
            self._second("singles", Case(n=n, order=order), _states)
        natural = Case(n=n, order="natural")
        self._explore("singles", natural)
        if n == 2:  # the named failpoints of the recoverer, too
            self._second_of("singles", [natural.at(point) for point in _NAMED])

    def _forced(self, base: Case, points: Sequence[str]) -> None:
        """R23: somebody asks for a definite outcome, wherever the coordinator died."""
        cases = [replace(base.at(point), force=True) for point in points]
        self._sweep("singles", [case.then() for case in cases])
        several = [f"write@{base.participants[0]}.after", *points[len(points) // 3 :]]
        states = list(dict.fromkeys(several))[:3]
        self._second_of("singles", [replace(base.at(point), force=True) for point in states])

    def _pairs(self, n: int) -> None:
        for order in _ORDERS:
            self._second("pairs", Case(n=n, order=order), list)

    def _cuts(self, n: int) -> None:
        for scenario in get_args(Scenario):
            base = Case(scenario, n)
            messages = self._watch(base).told.messages
            self._sweep("cuts", [base.at(message, deed) for message in messages for deed in CUTS])
        base = Case(n=n)
        states = [base.at(point) for point in _states(self._record(base))]
        cases = [
            run.case.then(message, deed)
            for run in self._many([state.then() for state in states])
            if run.recoverer is not None
            for message in run.recoverer.messages
            for deed in CUTS
        ]
        self._sweep("cuts", cases)

    def _zombies(self, n: int) -> None:
        """Trap 30: everybody else goes on without it, and then it wakes up where it was."""
        bases = [Case(n=n, order=order) for order in _ORDERS]
        if n == 2:
            bases.append(Case("lone", n))
        for base in bases:
            cases = [base.at(point, "stop").then() for point in self._record(base)]
            self._sweep("zombies", [replace(case, force=True) for case in cases])

    def _sync(self, n: int) -> None:
        base = Case(n=n, surface="threads", order="natural")
        self._explore("sync", base)
        self._second_of("sync", [base.at(point) for point in _NAMED])

    # --- how points are found -------------------------------------------------------------------

    def _watch(self, base: Case) -> Run:
        """Run a case to which nothing happens; not the first of its process, which sets it up."""
        *_, record = self._crew.run([[base] if base.alone else [base, base]])
        return _checked(record)

    def _record(self, base: Case) -> list[str]:
        return _points(self._watch(base))

    def _explore(self, part: Part, base: Case) -> list[str]:
        """Kill the coordinator at every point; return the points."""
        points = self._record(base)
        known = dict.fromkeys(points)
        runs = self._sweep(part, [base.at(point) for point in points])
        while runs:
            seen = dict.fromkeys(point for run in runs for point in _points(run))
            new = [point for point in seen if point not in known]
            known |= dict.fromkeys(new)
            runs = self._sweep(part, [base.at(point) for point in new])
        return list(known)

    def _second(self, part: Part, base: Case, choose: Callable[[list[str]], list[str]]) -> None:
        """Kill the coordinator at the points chosen, and then the recoverer at every one of its."""
        points = choose(self._record(base))
        self._second_of(part, [base.at(point) for point in points])

    def _second_of(self, part: Part, firsts: Sequence[Case]) -> None:
        known = {run.case: _later_points(run) for run in self._many([f.then() for f in firsts])}
        cases = [case.then(point) for case, points in known.items() for point in sorted(points)]
        runs = self._sweep(part, cases)
        while runs:
            new: dict[Case, None] = {}
            for run in runs:
                base = run.case.then()
                passed = _later_points(run) - known[base]
                known[base] |= passed
                new |= dict.fromkeys(base.then(point) for point in sorted(passed))
            runs = self._sweep(part, list(new))

    # --- running them ---------------------------------------------------------------------------

    def _sweep(self, part: Part, cases: Sequence[Case]) -> list[Run]:
        """Run cases that count."""
        if self._listed is not None:
            self._listed |= dict.fromkeys(cases)
            return []
        runs = self._many(cases)
        for run in runs:
            self._hear(part, run.case, run)
        return runs

    def _many(self, cases: Iterable[Case]) -> list[Run]:
        """Run cases, many to a process; those at whose point nothing happened again, alone."""
        runs = list(map(_checked, self._crew.run(_batches(cases))))
        for _ in range(_TRIES):
            missed = [at for at, run in enumerate(runs) if not run.happened]
            again = self._crew.run([[runs[at].case] for at in missed])
            for at, run in zip(missed, map(_checked, again), strict=True):
                runs[at] = run
        return runs


def _checked(run: Run) -> Run:
    if run.violation:
        raise Violation(run)
    return run


def _batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    for (_, alone), some in itertools.groupby(cases, lambda case: (case.kind, case.alone)):
        rest = list(some)
        size = 1 if alone else _MANY
        while rest:
            yield rest[:size]
            del rest[:size]


def _spread(cases: Sequence[Case], count: int) -> Sequence[Case]:
    """So many of the cases, evenly spread; 0: all."""
    if not count or count >= len(cases):
        return cases
    return [cases[(2 * number + 1) * len(cases) // (2 * count)] for number in range(count)]


def _states(points: list[str]) -> list[str]:
    """Where the coordinator leaves different work: undecided, voted once, decided, applied once."""
    votes = [point for point in points if point.startswith("phase2a")]
    commits = [point for point in points if point.startswith("commit-prepared")]
    after = [next(p for p in some if p.endswith(".after")) for some in (votes, commits)]
    return [votes[0], after[0], "tell:committed", after[1]]


def _points(run: Run) -> list[str]:
    """The points passed; of one case of many, statements and decisions only, as `jobs` has it."""
    return run.told.points if run.case.alone else list(filter(_shared, run.told.passed))


def _later_points(run: Run) -> set[str]:
    passed = run.recoverer.passed if run.recoverer is not None else []
    return set(passed if run.case.alone else filter(_shared, passed))


def _shared(point: str) -> bool:
    return "@" in point or point.startswith("tell:")
