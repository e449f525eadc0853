"""A history as numbers over time, second by second, for whoever draws them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from paxcommit.testing.chaos.events import Answered, InDoubt, Recovered
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.demo.result import percentile

__all__ = ["FaultSpan", "Series", "make_series"]


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault on the axis of time."""

    kind: str
    start: float
    end: float
    proven: bool


@dataclass(frozen=True, slots=True)
class Series:
    """See the module; each list has one number per second, a NaN where there is none.

    Attributes:
        seconds: The middle of each.
        committed, aborted, unknown: Clients told so in it.
        p50, p99: Milliseconds that clients told ``committed`` in it had waited.
        looked: When branches in doubt were counted.
        in_doubt: How many there were.
        silent: Banks that did not answer then.
        oldest: The age of the oldest, in seconds.
        recovered: When a recoverer had finished something.
        faults: In the order of their first beginning by kind.
    """

    seconds: list[float]
    committed: list[int]
    aborted: list[int]
    unknown: list[int]
    p50: list[float]
    p99: list[float]
    looked: list[float]
    in_doubt: list[int]
    silent: list[int]
    oldest: list[float]
    recovered: list[float]
    faults: list[FaultSpan]


def make_series(facts: Facts) -> Series:
    """Count."""
    seconds = range(int(facts.last) + 1)
    counts: dict[str, list[int]] = {
        answer: [0 for _ in seconds] for answer in ("committed", "aborted", "unknown")
    }
    waits: dict[int, list[float]] = defaultdict(list)
    for _, each in facts.of(Answered):
        second = min(int(each.at), len(seconds) - 1)
        counts[each.answer][second] += 1
        if each.answer == "committed":
            waits[second].append(each.took * 1000)
    samples = [each for _, each in facts.of(InDoubt)]
    return Series(
        seconds=[second + 0.5 for second in seconds],
        committed=counts["committed"],
        aborted=counts["aborted"],
        unknown=counts["unknown"],
        p50=[_percentile(waits[second], 0.5) for second in seconds],
        p99=[_percentile(waits[second], 0.99) for second in seconds],
        looked=[each.at for each in samples],
        in_doubt=[each.count for each in samples],
        silent=[each.silent for each in samples],
        oldest=[each.oldest for each in samples],
        recovered=[each.at for _, each in facts.of(Recovered)],
        faults=[
            FaultSpan(
                fault.begun[0][1].kind,
                fault.begun[0][1].at,
                facts.last if fault.over is None else fault.over,
                fault.proven,
            )
            for fault in facts.faults.values()
            if fault.begun
        ],
    )


def _percentile(values: list[float], share: float) -> float:
    return percentile(values, share) if values else float("nan")
