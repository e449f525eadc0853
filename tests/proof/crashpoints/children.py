"""A forked process and what it tells; its end, however it comes, is the end of the pipe."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Process", "Tell", "Told", "fork"]

Tell: TypeAlias = Callable[[int, str, Any], None]
"""Tells something about the how manieth case."""

_SECONDS = 90
"""After these the kernel ends a child that hangs."""


@dataclass(slots=True)
class Told:
    """What a process told of one case before its end.

    Attributes:
        points: Every point that it reached, in order.
        messages: Every message that it sent.
        cut: The messages that were cut.
        values: What else it told, by kind; the last of each.
        opening: How many of the points came before the work itself.
        killed: Whether it was killed at a point.
        hung: Whether it had to be ended from outside.
    """

    points: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    opening: int = 0
    killed: bool = False
    hung: bool = False

    @property
    def passed(self) -> list[str]:
        """The points of the work itself."""
        return self.points[self.opening :]

    def take(self, what: str, value: Any) -> None:
        """Take a report."""
        lists = {"point": self.points, "message": self.messages, "cut": self.cut}
        if what in lists:
            lists[what].append(value)
        else:
            self.values[what] = value
        if what in ("txid", "begun"):
            self.opening = len(self.points)


class Process:
    """A forked process that does some work.

    The caller must hold no connection and run no loop and no thread (trap 37b).

    Args:
        work: What it does.
        cases: How many it tells of.

    Attributes:
        told: What it has told of each so far.
    """

    def __init__(self, work: Callable[[Tell], None], cases: int = 1) -> None:
        ours, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _run(work, theirs)
        os.close(theirs)
        self._lines = open(ours, encoding="utf-8")  # noqa: SIM115 - until it ends
        self.told = [Told() for _ in range(cases)]

    def until_stopped(self) -> bool:
        """Wait until it has stopped itself, or ended; tell which."""
        while line := self._lines.readline():
            number, what, value = json.loads(line)
            self.told[number].take(what, value)
            if what == "stopped":
                os.waitpid(self._pid, os.WUNTRACED)
                return True
        return False

    def wake(self) -> None:
        """Let it go on."""
        os.kill(self._pid, signal.SIGCONT)

    def finish(self) -> list[Told]:
        """Wait for its end; return what it told of each case."""
        while self.until_stopped():
            self.wake()
        self._lines.close()
        _, status = os.waitpid(self._pid, 0)
        for each in self.told:
            each.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            each.hung = os.WIFSIGNALED(status) and not each.killed
        failed = any("failed" in each.values for each in self.told)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) and not failed:
            self.told[0].values["failed"] = f"it ended with status {os.WEXITSTATUS(status)}"
        return self.told


def fork(work: Callable[[Tell], None], cases: int = 1) -> list[Told]:
    """Run `work` in a `Process`, and wait for its end."""
    return Process(work, cases).finish()


def _run(work: Callable[[Tell], None], pipe: int) -> None:
    status = 1
    try:
        signal.alarm(_SECONDS)
        gc.disable()
        logging.disable()  # whatever goes wrong on purpose

        latest = 0

        def tell(case: int, what: str, value: Any) -> None:
            nonlocal latest
            latest = case
            os.write(pipe, (json.dumps([case, what, value]) + "\n").encode())

        try:
            work(tell)
            status = 0
        except BaseException:  # noqa: BLE001 - whoever reads the pipe wants to know
            tell(latest, "failed", traceback.format_exc()[-3000:])
    finally:
        os._exit(status)
