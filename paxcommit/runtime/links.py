"""What a link is for; the two runners' links differ only in how they wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from paxcommit.errors import PaxcommitError
from paxcommit.protocol.messages import AcceptorAnswer, Request
from paxcommit.sql.statement import DatabaseError, Sql, Statements, Unanswered

__all__ = ["FAILURES", "LinkPlan", "heartbeat"]

FAILURES = (DatabaseError, Unanswered, PaxcommitError)
"""What statements on a link may raise without the link being at fault."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What a link is for.

    Attributes:
        name: For logs and answers.
        setup: Statements to run on every new connection, before anything else.
        down: Called when the connection is lost.
        batch: How to ask an acceptor many requests in one call.
        timeout: Seconds for one call.
        heartbeat: Seconds after which an idle connection is tried.
    """

    name: str
    setup: Callable[[], Statements[None]]
    down: Callable[[], None]
    batch: Callable[[Sequence[Request]], Statements[list[AcceptorAnswer]]]
    timeout: float
    heartbeat: float


def heartbeat() -> Statements[None]:
    """Try an idle connection."""
    yield Sql("SELECT 1")
