"""The values that instances choose (R5): Prepared or Aborted, and for the registrar J or Aborted.

Gray & Lamport, section 4 (one instance per RM) and section 6 (the registrar).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from paxcommit.errors import require

__all__ = ["REGISTRAR", "Instance", "Outcome", "ParticipantSet", "Value", "Vote", "parse_value"]

Instance: TypeAlias = str
"""The name of a Paxos instance: a participant's name (R4), or `REGISTRAR`."""

REGISTRAR: Instance = "*"
"""The registrar's instance.  No participant can have this name."""


class Vote(enum.Enum):
    """An RM's vote, and the registrar's refusal to name a J."""

    PREPARED = "P"
    ABORTED = "A"

    def spell(self) -> str:
        """The value as acceptors store it."""
        return self.value

    def __str__(self) -> str:
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class ParticipantSet:
    """J: who takes part, canonical: sorted, without duplicates, never empty (R5)."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        require(
            bool(self.names) and list(self.names) == sorted(set(self.names)),
            f"J must be sorted, without duplicates and not empty: {self.names}",
        )

    @classmethod
    def of(cls, names: Iterable[str]) -> ParticipantSet:
        """Make J of any iterable of names."""
        return cls(tuple(sorted(set(names))))

    def spell(self) -> str:
        """The value as acceptors store it."""
        return "J:" + ",".join(self.names)

    def __str__(self) -> str:
        return "{" + ", ".join(self.names) + "}"


Value: TypeAlias = Vote | ParticipantSet


def parse_value(text: str) -> Value:
    """Parse what `spell` wrote.

    Raises:
        InvariantViolation: It is no value of this protocol.
    """
    if text.startswith("J:"):
        return ParticipantSet(tuple(text[2:].split(",")))
    require(text in ("P", "A"), f"an acceptor holds {text!r}, which is no value")
    return Vote(text)


class Outcome(enum.Enum):
    """What is known of a transaction: decided one way, decided the other way, or not decided."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    OPEN = "open"

    def __str__(self) -> str:
        return self.value
