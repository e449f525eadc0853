"""What a process of clients writes to its standard output: one line of JSON per report.

A line goes out in one write, which a pipe takes entirely or not at all, and nothing is buffered:
whatever was said before a SIGKILL has been said.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TypeAlias

from paxcommit.testing.bank.carriers import Kind

__all__ = ["Answered", "Opened", "Report", "Stopped", "read_report", "write_report"]


@dataclass(frozen=True, slots=True)
class Opened:
    """The process is at work.

    Attributes:
        coordinator: Its incarnation, as transaction ids and gids spell it.
    """

    coordinator: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A transaction began, or its client got an answer."""

    kind: Kind
    txid: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The process is about to stop itself at a step of commit."""

    step: str


Report: TypeAlias = Opened | Answered | Stopped

_STANDARD_OUTPUT = 1
_CLASSES: dict[str, type[Report]] = {"opened": Opened, "answer": Answered, "stopped": Stopped}


def write_report(report: Report) -> None:
    """Write `report` to standard output, at once."""
    name = next(name for name, kind in _CLASSES.items() if isinstance(report, kind))
    line = json.dumps({"report": name, **asdict(report)}) + "\n"
    os.write(_STANDARD_OUTPUT, line.encode())


def read_report(line: bytes) -> Report:
    """Read what `write_report` wrote.

    Raises:
        ValueError, KeyError, TypeError: It is no such line.
    """
    fields = json.loads(line)
    return _CLASSES[fields.pop("report")](**fields)
