"""A history, sorted by what the judge asks for: by transaction, by fault, by kind of event."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from paxcommit.testing.chaos.events import (
    Answered,
    Asked,
    Begun,
    Booked,
    DamageReported,
    Deed,
    Event,
    FaultBegun,
    FaultEnded,
    FaultSkipped,
    FinalBank,
    Recovered,
    Run,
)
from paxcommit.testing.chaos.history import History

__all__ = ["Facts", "Fault", "Row", "Transaction", "Window", "merge"]

_E = TypeVar("_E", bound=Event)


class Row(NamedTuple):
    """A row of a bank's transfers, and the line that shows it."""

    line: int
    bank: str
    booked: Booked


class Window(NamedTuple):
    """From when to when, in seconds."""

    start: float
    end: float


@dataclass(slots=True)
class Transaction:
    """Everything that is known of a transaction; each list with the lines' numbers, in order.

    Attributes:
        txid: Its id.
        begun: At least one; more is a violation.
    """

    txid: str
    begun: list[tuple[int, Begun]] = field(default_factory=list)
    answers: list[tuple[int, Answered]] = field(default_factory=list)
    asked: list[tuple[int, Asked]] = field(default_factory=list)
    recovered: list[tuple[int, Recovered]] = field(default_factory=list)
    deeds: list[tuple[int, Deed]] = field(default_factory=list)
    damage: list[tuple[int, DamageReported]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def wish(self) -> Begun | None:
        """What its client began; None if nobody did."""
        return self.begun[0][1] if self.begun else None

    @property
    def told(self) -> list[tuple[int, str, str]]:
        """Every final word: its line, who said it, and what it was."""
        words: list[tuple[int, str, str]] = []
        words += [(line, "the client", each.answer) for line, each in self.answers]
        words += [(line, f"outcome() ({each.by})", each.outcome) for line, each in self.asked]
        words += [(line, each.process, each.outcome) for line, each in self.recovered]
        return sorted(word for word in words if word[2] in ("committed", "aborted"))

    @property
    def answered_finally(self) -> bool:
        """Whether its client was told what became of it."""
        return any(each.answer != "unknown" for _, each in self.answers)

    @property
    def first_line(self) -> tuple[int, ...]:
        """Where it began."""
        return (self.begun[0][0],) if self.begun else ()


@dataclass(slots=True)
class Fault:
    """A fault, with the lines' numbers."""

    begun: list[tuple[int, FaultBegun]] = field(default_factory=list)
    ended: list[tuple[int, FaultEnded]] = field(default_factory=list)
    skipped: list[tuple[int, FaultSkipped]] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Whether it fired, and something proves it."""
        return any(_counts(each) for _, each in self.ended) and not self.skipped

    @property
    def over(self) -> float | None:
        """When it was over; None if it never was."""
        return min((each.at for _, each in (*self.ended, *self.skipped)), default=None)


def _counts(ended: FaultEnded) -> bool:
    count = ended.proof.get("count")
    return isinstance(count, int) and count > 0


class Facts:
    """See the module.

    Args:
        history: Whole.

    Attributes:
        run: The first line.
        last: The time of the last one.
        events: All of them.
        transactions: By id.
        faults: By id.
        shown: The banks whose final state is there, and on which line.
        windows: When there was any fault.
    """

    def __init__(self, history: History) -> None:
        self.run: Run = history.run
        self.last: float = history.events[-1].at
        self.events = history.events
        self.transactions: dict[str, Transaction] = {}
        self.faults: dict[str, Fault] = {}
        self.shown: dict[str, int] = {}
        self._kinds: dict[type, list[tuple[int, Event]]] = {}
        for line, event in history:
            self._kinds.setdefault(type(event), []).append((line, event))
            self._sort(line, event)
        self.windows = merge(self._windows())

    def of(self, kind: type[_E]) -> Iterator[tuple[int, _E]]:
        """All events of a kind with their lines' numbers, in order."""
        for line, event in self._kinds.get(kind, ()):
            if isinstance(event, kind):
                yield line, event

    def in_fault(self, start: float, end: float) -> bool:
        """Whether there was a fault at any time from `start` to `end`."""
        first = bisect_left(self.windows, start, key=lambda window: window.end)
        return first < len(self.windows) and self.windows[first].start <= end

    def _windows(self) -> Iterator[Window]:
        for fault in self.faults.values():
            for _, begun in fault.begun:
                over = fault.over
                yield Window(begun.at, self.last if over is None else over)

    def _sort(self, line: int, event: Event) -> None:
        match event:
            case Begun():
                self._transaction(event.txid).begun.append((line, event))
            case Answered():
                self._transaction(event.txid).answers.append((line, event))
            case Asked():
                self._transaction(event.txid).asked.append((line, event))
            case Recovered():
                self._transaction(event.txid).recovered.append((line, event))
            case Deed():
                self._transaction(event.txid).deeds.append((line, event))
            case DamageReported():
                self._transaction(event.txid).damage.append((line, event))
            case FinalBank() if event.bank not in self.shown:
                self.shown[event.bank] = line
                for booked in event.transfers:
                    self._transaction(booked.txid).rows.append(Row(line, event.bank, booked))
            case FaultBegun():
                self._fault(event.fault).begun.append((line, event))
            case FaultEnded():
                self._fault(event.fault).ended.append((line, event))
            case FaultSkipped():
                self._fault(event.fault).skipped.append((line, event))
            case _:
                pass

    def _transaction(self, txid: str) -> Transaction:
        return self.transactions.setdefault(txid, Transaction(txid))

    def _fault(self, name: str) -> Fault:
        return self.faults.setdefault(name, Fault())


def merge(windows: Iterator[Window]) -> list[Window]:
    """Windows that overlap or touch become one; in order."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return merged
