"""What is armed at which step of this process, and who hears of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

from paxcommit.errors import ConfigurationError, UsageError

__all__ = ["Action", "Arm", "Arms", "Hear", "parse_step"]

Action: TypeAlias = Literal["kill", "stop", "raise", "call"]

Hear: TypeAlias = Callable[[str, Any], None]
"""Hears ``("step", name)`` at every step, ``("acted", [number, action, name])`` before an act."""

_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def parse_step(step: str, nth: int) -> tuple[str, int]:
    """Take ``pattern#n`` apart.

    Raises:
        ConfigurationError: The number is not a positive one.
    """
    pattern, _, counted = step.partition("#")
    if counted:
        nth = int(counted) if counted.isdecimal() else 0
    if nth < 1:
        raise ConfigurationError(f"failpoint {step!r}: the first time is 1")
    return pattern, nth


@dataclass(slots=True)
class Arm:
    """One thing to do, once, at the n-th step whose name matches.

    Attributes:
        number: Tells it from the test's others, also in children.
        action: What to do.
        pattern: A step's name, or a pattern as `fnmatch` has it.
        nth: Which of the steps that match, from 1, in each process for itself.
        work: What ``raise`` and ``call`` do.
        optional: Whether it is fine if no process ever gets there.
        acted: Whether it was done, in this process or in a child.
        seen: How many steps matched in this process.
    """

    number: int
    action: Action
    pattern: str
    nth: int = 1
    work: Callable[[], object] | None = None
    optional: bool = False
    acted: bool = False
    seen: int = field(default=0, repr=False)

    def __str__(self) -> str:
        nth = "" if self.nth == 1 else f"#{self.nth}"
        return f"{self.action}_at({self.pattern + nth!r})"


class Arms:
    """All that is armed in this process.

    Args:
        hear: See `Hear`.
    """

    def __init__(self, hear: Hear) -> None:
        self._arms: list[Arm] = []
        self._hear = hear
        self._mortal = False
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Arm]:
        return iter(tuple(self._arms))

    def add(self, arm: Arm) -> None:
        """Arm it."""
        self._arms.append(arm)

    def acted(self, number: int) -> None:
        """A child has done it: it is done."""
        for arm in self:
            if arm.number == number:
                arm.acted = True

    def inherit(self, hear: Hear) -> None:
        """From here on this is a child: it may be killed, and tells its parent."""
        self._hear, self._mortal, self._lock = hear, True, threading.Lock()
        for arm in self:
            arm.seen = 0

    def hook(self, name: str) -> None:
        """Take note of a step, and do what is armed there."""
        self._hear("step", name)
        for arm in self:
            if arm.acted or not fnmatchcase(name, arm.pattern):
                continue
            with self._lock:
                arm.seen += 1
                due = arm.seen == arm.nth
                if due and arm.action in _SIGNALS:
                    # Under the lock, or another thread would pass the step before the signal comes.
                    self._act(arm, name)
                    continue
            if due:
                self._act(arm, name)

    def _act(self, arm: Arm, name: str) -> None:
        if arm.action in _SIGNALS and not self._mortal:
            raise UsageError(
                f"{name} was reached in the test's own process, which {arm} would have ended: let "
                f"failpoints.run() or run_python() do the work in a child"
            )
        self._hear("acted", [arm.number, arm.action, name])
        if arm.action in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[arm.action])
        elif arm.work is not None:
            arm.work()
