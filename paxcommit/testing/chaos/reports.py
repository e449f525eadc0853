"""What a process of clients writes to its standard output: events of the history, and two more.

A line goes out in one write, which a pipe takes entirely or not at all, and nothing is buffered:
whatever was said before a SIGKILL has been said.  Whoever reads it stamps the time.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from paxcommit.testing.chaos.events import Answered, Begun, ProcessStarted, Recovered, Seen

__all__ = ["Jumped", "Report", "Stopping", "read_report", "write_report"]


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process has been told to stop itself at a step of commit.

    Attributes:
        step: Which.
        reached: It is about to do so; or its time is over, and it will not.
    """

    step: str
    reached: bool
    event: Literal["stopping"] = "stopping"


@dataclass(frozen=True, slots=True)
class Jumped:
    """What the process takes for time has jumped.

    Attributes:
        wall: Seconds by which ``time.time`` was seen to move.
        monotonic: Likewise the event loop's clock and ``time.monotonic``.
    """

    wall: float
    monotonic: float
    event: Literal["jumped"] = "jumped"


Report: TypeAlias = ProcessStarted | Begun | Answered | Seen | Recovered | Stopping | Jumped

_STANDARD_OUTPUT = 1
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="event")])


def write_report(report: Report) -> None:
    """Write `report` to standard output, at once."""
    os.write(_STANDARD_OUTPUT, _REPORTS.dump_json(report) + b"\n")


def read_report(line: bytes) -> Report:
    """Read what `write_report` wrote.

    Raises:
        ValueError: It is no such line.
    """
    return _REPORTS.validate_json(line)
