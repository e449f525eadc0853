"""What applying a decision to one branch can come to (R19, R20); pure data, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Applied", "Busy", "Damage", "FinishAnswer", "NotApplied"]


@dataclass(frozen=True, slots=True)
class Applied:
    """The branch is where the decision wants it, durably."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else holds it this very moment (55000, 55P03): try again (trap 6)."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotApplied:
    """Not done now (server away, not the owner, …); recovery tries again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Damage:
    """The database contradicts the decision: an alarm, never a success (R19, R20).

    Attributes:
        what: One word for machines: ``lost-branch`` or ``committed-despite-abort``.
        detail: In words, for the person on call.
        written: Whether it is written down where the person on call will look; if not, it is still
            to be.
    """

    what: str
    detail: str
    written: bool = True


FinishAnswer: TypeAlias = Applied | Busy | NotApplied | Damage
