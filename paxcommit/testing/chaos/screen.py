"""What is to be seen while chaos runs: how far it is, what was answered, which faults there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import get_args

from paxcommit.testing.chaos.events import (
    Answer,
    Answered,
    Begun,
    Event,
    FaultBegun,
    FaultEnded,
    FaultSkipped,
    InDoubt,
)
from paxcommit.testing.demo.screen import Screen

__all__ = ["Onlooker"]


class Onlooker:
    """Lets events pass to `write` and shows on `screen` what they come to.

    Args:
        screen: Open.
        write: Where events go.
        seconds: For how long clients are to work.
    """

    def __init__(self, screen: Screen, write: Callable[[Event], None], seconds: float) -> None:
        self._screen = screen
        self._write = write
        self._seconds = seconds
        self._answers: Counter[str] = Counter()
        self._faults: dict[str, str] = {}
        self._in_doubt = 0
        self._start: float | None = None
        screen.act("Chaos", total=seconds)

    def tell(self, line: str) -> None:
        """Something new begins."""
        self._screen.line(line)

    def write(self, event: Event) -> None:
        """See an event, and let it pass."""
        self._write(event)
        match event:
            case Begun() if self._start is None:
                self._start = event.at
            case Answered():
                self._answers[event.answer] += 1
            case FaultBegun():
                self._faults[event.fault] = event.kind
            case FaultEnded() | FaultSkipped():
                self._faults.pop(event.fault, None)
            case InDoubt():
                self._in_doubt = event.count
                self._show(event.at)
            case _:
                pass

    def _show(self, at: float) -> None:
        told = ", ".join(f"{self._answers[answer]:,} {answer}" for answer in get_args(Answer))
        now = ", ".join(dict.fromkeys(self._faults.values())) or "no fault"
        done = 0.0 if self._start is None else at - self._start
        status = f"{told}; {self._in_doubt} in doubt; {now}"
        self._screen.update(min(done, self._seconds), status)
