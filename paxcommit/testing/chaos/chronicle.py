"""Stamps events with one clock, in the order in which they are written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

from paxcommit.testing.chaos.events import Event

__all__ = ["Chronicle"]

_E = TypeVar("_E", bound="Event")


class Chronicle:
    """One run's; used from one thread.

    Args:
        write: Takes the stamped events.
        tell: Takes lines for people.
    """

    def __init__(self, write: Callable[[Event], None], tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._write = write
        self._began = time.monotonic()

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def note(self, event: Event) -> None:
        """Write an event down as of now, whatever its own time says."""
        self._write(dataclasses.replace(event, at=round(self.now, 6)))
