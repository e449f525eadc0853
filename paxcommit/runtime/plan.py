"""Plans: several statements on several connections at once, written once for both runners.

A plan yields a list of steps and is sent the list of their answers, in order; a step that failed
has its exception as its answer.  That is all the fan-out there is outside the protocol machines:
whatever needs a quorum, a timer or an early answer is a machine's job.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from paxcommit.protocol.messages import AcceptorName, Request
from paxcommit.sql.statement import Statements

__all__ = [
    "Answers",
    "Ask",
    "Call",
    "Plan",
    "Step",
    "Where",
    "acceptor",
    "branch",
    "fencing",
    "standing",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Where:
    """A connection, by what it is for.

    Attributes:
        kind: ``acceptor``: the link that carries the votes and the advisory lock (R26).
            ``standing``: the standing connection to a participant (R27).
            ``fence``: a second one, which may have to wait for a lock.
            ``branch``: the session in which a transaction's branch runs.
        name: The acceptor's or participant's name.
        lane: Which of several for one purpose; 0 is the one that is always there (R27).
    """

    kind: Literal["acceptor", "standing", "fence", "branch"]
    name: str
    lane: int = 0


# A commit asks for each of them, by a few names, several times.
@functools.cache
def acceptor(name: AcceptorName) -> Where:
    """The link to an acceptor."""
    return Where("acceptor", name)


@functools.cache
def standing(name: str, lane: int = 0) -> Where:
    """The standing connection to a participant, or one beside it while there is much to do."""
    return Where("standing", name, lane)


def fencing(name: str, lane: int = 0) -> Where:
    """The connection to a participant on which fences wait, or one beside it."""
    return Where("fence", name, lane)


@functools.cache
def branch(name: str) -> Where:
    """The session of a participant's branch."""
    return Where("branch", name)


@dataclass(frozen=True, slots=True)
class Call:
    """Run statements on a connection; the answer is what they return or raise."""

    where: Where
    statements: Statements[Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a protocol request to an acceptor; the answer is an `AcceptorAnswer`, never raised."""

    acceptor: AcceptorName
    request: Request


Step: TypeAlias = Call | Ask
Answers: TypeAlias = list[Any]
Plan: TypeAlias = Generator[list[Step], Answers, _T]
