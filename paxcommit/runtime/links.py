"""What a link is for; the two runners' links differ only in how they wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from paxcommit.errors import InvariantViolation, PaxcommitError
from paxcommit.protocol.messages import AcceptorAnswer, AcceptorName, Request
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.plan import Where
from paxcommit.runtime.timing import Timing
from paxcommit.sql.statement import DatabaseError, Sql, Statements, Unanswered

__all__ = ["FAILURES", "LinkPlan", "plan_link"]

FAILURES = (DatabaseError, Unanswered, PaxcommitError)
"""What statements on a link may raise without the link being at fault."""


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What a link is for.

    Attributes:
        server: The acceptor's or participant's name.
        name: For logs.
        setup: Statements to run on every new connection, before anything else.
        pulse: Statements to try an idle connection with.
        down: Called when the connection is lost.
        batch: How to ask an acceptor many requests in one call.
        timeout: Seconds for one call.
        heartbeat: Seconds after which an idle connection is tried.
    """

    server: str
    name: str
    setup: Callable[[], Statements[None]]
    pulse: Callable[[], Statements[None]]
    down: Callable[[], None]
    batch: Callable[[Sequence[Request]], Statements[list[AcceptorAnswer]]]
    timeout: float
    heartbeat: float


def plan_link(
    where: Where,
    members: Membership,
    acceptors: Mapping[AcceptorName, str],
    timing: Timing,
) -> tuple[str, LinkPlan]:
    """Return the DSN and the plan of a link.

    Raises:
        Unanswered: The settings of this process do not name that server.
    """
    name = where.name
    if where.kind == "acceptor":
        return acceptors[name], LinkPlan(
            server=name,
            name=f"acceptor {name}",
            setup=members.acceptor_setup(name),
            pulse=members.pulse(name),
            down=lambda: members.lost(name),
            batch=members.batch(name),
            timeout=timing.acceptor,
            heartbeat=timing.heartbeat,
        )
    if name not in members.sites:
        raise Unanswered(f"participant {name} is not in the settings of this process")
    return members.sites[name].dsn, LinkPlan(
        server=name,
        name=f"participant {name}",
        setup=members.participant_setup(name),
        pulse=_try,
        down=lambda: None,
        batch=_no_votes,
        timeout=timing.participant,
        heartbeat=timing.heartbeat,
    )


def _try() -> Statements[None]:
    yield Sql("SELECT 1")


def _no_votes(requests: Sequence[Request]) -> Statements[list[AcceptorAnswer]]:
    raise InvariantViolation(f"a participant was asked to vote: {requests}")
