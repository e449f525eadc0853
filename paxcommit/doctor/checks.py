"""One finding about one server or the cluster."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Check", "Level"]


class Level(enum.IntEnum):
    """How bad a finding is; the order is that of badness."""

    OK = 0
    WARNING = 1
    PROBLEM = 2
    DAMAGE = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: What it is about, e.g. ``acceptor a1``, or ``cluster``.
        name: What was looked at; stable, for scripts.
        level: How bad it is.
        found: What was found.
        advice: What to do; empty if nothing.
    """

    subject: str
    name: str
    level: Level
    found: str
    advice: str = ""
