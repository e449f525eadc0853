"""The resource manager: when may a branch vote Prepared?  (R4, R6, R14 to R17; section 4.)

A participant's database does not speak Paxos, so the process that drives its branch votes for it.
It may do so once, and only on proof; this module says what is proof.  Everything that is not
proof is either a *no* (the server said so) or Unknown (nobody knows yet; trap 4).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from paxcommit.errors import require
from paxcommit.protocol.values import Vote

__all__ = [
    "RETRYABLE",
    "BranchAnswer",
    "No",
    "OnlyCommitted",
    "Prepared",
    "ResourceManager",
    "Unknown",
    "WroteNothing",
    "is_definite",
    "judge_error",
    "judge_only_commit",
    "judge_prepare",
]

RETRYABLE = frozenset({"40001", "40P01"})
"""Serialization failure and deadlock: the same work may succeed under a new txid."""

_INDEFINITE_CLASSES = frozenset({"08", "53", "57", "58", "XX"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """The branch is prepared, durably, and its row rides along: may vote."""


@dataclass(frozen=True, slots=True)
class WroteNothing:
    """The branch wrote nothing, so it has nothing to vote about (R15).

    Attributes:
        serializable: Whether it must really commit before the first phase 2a is sent.
    """

    serializable: bool


@dataclass(frozen=True, slots=True)
class OnlyCommitted:
    """The only participant committed in one phase (R17)."""


@dataclass(frozen=True, slots=True)
class No:
    """Definitely not prepared or committed, by the server's own word.

    Attributes:
        reason: In words.
        retryable: Whether a new transaction may fare better.
    """

    reason: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The branch may be prepared (or committed) now, later, or never (trap 4)."""

    reason: str


BranchAnswer: TypeAlias = Prepared | WroteNothing | OnlyCommitted | No | Unknown


def judge_prepare(tag: str, *, warned: bool) -> Prepared | No | Unknown:
    """Judge an answered ``PREPARE TRANSACTION`` (R16).

    Args:
        tag: The command tag, after ReadyForQuery.
        warned: Whether a WARNING 01000 came after the branch row was in (a deferred trigger that
            warns comes before it and does not count).
    """
    if tag != "PREPARE TRANSACTION":
        # Trap 1: PREPARE in a failed transaction raises nothing, it answers ROLLBACK.
        return No(f"PREPARE TRANSACTION answered {tag!r}: the transaction had failed before")
    if warned:
        # Trap 2: cancelled while waiting for a synchronous standby; prepared here, maybe only here.
        return Unknown("prepared with a warning: perhaps not on the synchronous standby")
    return Prepared()


def judge_only_commit(tag: str) -> OnlyCommitted | No:
    """Judge an answered one-phase COMMIT (R17, R22)."""
    if tag == "COMMIT":
        return OnlyCommitted()
    return No(f"COMMIT answered {tag!r}: the transaction had failed before")


def is_definite(sqlstate: str) -> bool:
    """Whether an error with this SQLSTATE proves that the transaction is gone (R22).

    Connection, resource, operator, system and internal errors prove nothing: an fsync error
    reported to the client may leave the gid prepared after a restart (trap 4).
    """
    return sqlstate[:2] not in _INDEFINITE_CLASSES


def judge_error(sqlstate: str, message: str, *, retryable: bool | None = None) -> No | Unknown:
    """Judge an error answer to the branch row, PREPARE or a one-phase COMMIT."""
    if not is_definite(sqlstate):
        return Unknown(f"{message} ({sqlstate})")
    retry = sqlstate in RETRYABLE if retryable is None else retryable
    return No(f"{message} ({sqlstate})", retry)


class _State(enum.Enum):
    WORKING = "working"
    ANSWERED = "answered"
    VOTED = "voted"


class ResourceManager:
    """One branch, in the process that drives it: it votes at most once (R6, trap 25)."""

    def __init__(self, participant: str) -> None:
        self.participant = participant
        self.answer: BranchAnswer | None = None
        self._state = _State.WORKING

    @property
    def may_roll_back(self) -> bool:
        """Whether this process may still roll the branch back by itself: never after a vote."""
        return self._state is not _State.VOTED

    def answered(self, answer: BranchAnswer) -> None:
        """Take the branch's one answer."""
        require(self._state is _State.WORKING, "%s answered twice", self.participant)
        self.answer, self._state = answer, _State.ANSWERED

    def vote(self) -> Vote:
        """Vote Prepared at ballot 0.  There is no other vote: a *no* is told, not voted (R6)."""
        require(
            self._state is _State.ANSWERED and isinstance(self.answer, Prepared),
            "%s may not vote: %s, %s",
            *(self.participant, self._state, self.answer),
        )
        self._state = _State.VOTED
        return Vote.PREPARED
