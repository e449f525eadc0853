"""A chaos run's history in a file: JSON Lines, one event a line, the run first and the end last.

Reading is strict: an event that is not known, a field too many or too few, a wrong type, a missing
end or a missing line is an error that names the line.  So nobody can judge half a history.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Literal, Self, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from paxcommit.errors import ConfigurationError, require
from paxcommit.testing.chaos.events import VERSION, End, Event, Run

__all__ = ["Flaw", "History", "HistoryError", "Recorder", "read_history", "read_lines"]

Flaw: TypeAlias = Literal[
    "unreadable", "no-run", "version", "malformed", "truncated", "after-end", "miscounted"
]
"""Why a file is no history that could be judged."""

_NO_RUN = "a history of `paxcommit chaos` begins with its run"
_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


class HistoryError(ConfigurationError):
    """A file is no whole history, so nothing can be said of the run.

    Attributes:
        flaw: Why.
        line: The line that is wrong, from 1; 0 if it is none in particular.
    """

    def __init__(self, flaw: Flaw, line: int, why: str) -> None:
        self.flaw: Flaw = flaw
        self.line = line
        super().__init__(f"line {line}: {why}" if line else why)


@dataclass(frozen=True, slots=True)
class History:
    """A whole history.

    Attributes:
        run: The first line.
        events: All lines, the first and the last included.
    """

    run: Run
    events: tuple[Event, ...]

    def __iter__(self) -> Iterator[tuple[int, Event]]:
        """All events with their lines' numbers, from 1."""
        return iter(enumerate(self.events, start=1))


class Recorder:
    """Writes a history; a context manager.  Leaving it well writes the end, an error does not.

    May be used from several threads.  A line that reading would refuse is refused here.

    Args:
        path: The file; with the first event it replaces one that is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._lines = 0
        self._last = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        if error is None:
            self.write(End(self._last, self._lines))
        self._file.close()

    def write(self, event: Event) -> None:
        """Write an event down; it is with the system when this returns.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        line = _EVENTS.dump_json(event, warnings=False)
        _EVENTS.validate_json(line)
        with self._lock:
            require(
                isinstance(event, Run) == (self._lines == 0), "a history begins with its one run"
            )
            try:
                self._file = self._file or self._path.open("wb")
                self._file.write(line + b"\n")
                self._file.flush()
            except OSError as error:
                said = f"cannot write {self._path}: {error.strerror}"
                raise ConfigurationError(said) from None
            self._lines += 1
            self._last = event.at


def read_history(path: Path) -> History:
    """Read a file.

    Raises:
        HistoryError: There is none, or it is no whole history.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HistoryError(
            "unreadable", 0, f"cannot read {path}: {os.strerror(error.errno or 0)}"
        ) from None
    return read_lines(data.splitlines())


def read_lines(lines: list[bytes]) -> History:
    """Read a history's lines.

    Raises:
        HistoryError: They are no whole history.
    """
    events = tuple(_read(number, line) for number, line in enumerate(lines, start=1))
    if not events or not isinstance(events[0], Run):
        raise HistoryError("no-run", 1, _NO_RUN)
    run = events[0]
    if run.version != VERSION:
        raise HistoryError("version", 1, f"version {run.version}; this code reads {VERSION}")
    for number, event in enumerate(events[1:], start=2):
        if isinstance(event, Run):
            raise HistoryError("malformed", number, "a second run begins; one file has one")
        if isinstance(event, End):
            if number < len(events):
                raise HistoryError("after-end", number + 1, "there is something after the end")
            if event.events != number - 1:
                raise HistoryError(
                    "miscounted",
                    number,
                    f"the end counts {event.events} lines above it and there are {number - 1}",
                )
            return History(run, events)
    raise HistoryError(
        "truncated", len(events), "there is no end: the run was cut off, or the file was"
    )


def _read(number: int, line: bytes) -> Event:
    try:
        return _EVENTS.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else first["msg"]
        if number == 1:
            raise HistoryError("no-run", 1, f"{_NO_RUN}; {said}") from None
        raise HistoryError("malformed", number, said) from None
