"""The acceptor: when may it promise, when may it accept?  (R8 to R11, R13, R30; section 4.1.)

This is the reference; ``paxcommit/sql`` implements the same rules as SQL functions, and a
property-based test holds the two to the same answers for any sequence of calls.

"Persist before send" is a type: `step` returns either `Persist`, whose reply may leave only once
its row is durable, or a `Refuse`, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from paxcommit.errors import require
from paxcommit.ids import Ballot
from paxcommit.protocol.messages import (
    Accepted,
    AcceptorName,
    Conflict,
    Learn,
    Learned,
    LostVotes,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Request,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import Instance

__all__ = ["UNKNOWN", "EpochState", "Persist", "Refuse", "Row", "step"]


@dataclass(frozen=True, slots=True)
class Row:
    """All an acceptor holds of one transaction, literally one row (R8).

    Attributes:
        promised: The highest ballot promised or accepted, shared by all instances.
        accepted: Per instance, the last accepted ballot and value.
    """

    promised: Ballot = Ballot(-1)
    accepted: Mapping[Instance, Accepted] = field(default_factory=dict)


UNKNOWN = Row()
"""The row of a transaction that the acceptor has never heard of."""


@dataclass(frozen=True, slots=True)
class EpochState:
    """What the acceptor knows of the epoch that the request belongs to.

    Attributes:
        sealed: Ballot 0 of unknown transactions is over (R30).
        retired: Every ballot is over (R30).
        lost_votes: It is below a mark that somebody remembers; it never votes again (R13).
    """

    sealed: bool = False
    retired: bool = False
    lost_votes: bool = False


@dataclass(frozen=True, slots=True)
class Persist:
    """Make `row` durable; only then may `reply` leave (R12)."""

    row: Row
    reply: Phase1b | Phase2b


@dataclass(frozen=True, slots=True)
class Refuse:
    """Change nothing; `reply` may leave at once (a `Learned` is such a reply, too)."""

    reply: Outbid | Conflict | Sealed | Retired | LostVotes | Learned


Step: TypeAlias = Persist | Refuse


def step(acceptor: AcceptorName, epoch: EpochState, row: Row, request: Request) -> Step:
    """Answer one request.

    Args:
        acceptor: Its own name, for the reply.
        epoch: The state of the request's epoch, held still until `Persist` is durable (R11).
        row: What it holds of the transaction; `UNKNOWN` if nothing.
        request: The request.
    """
    txid = request.txid
    if epoch.lost_votes:
        return Refuse(LostVotes(txid, acceptor))
    match request:
        case Learn() if epoch.retired and row == UNKNOWN:
            return Refuse(Retired(txid, acceptor))  # its rows are gone: not "never heard of" (R31)
        case Learn():
            return Refuse(Learned(txid, acceptor, row.promised, row.accepted))
        case _ if epoch.retired:
            return Refuse(Retired(txid, acceptor))
        case Phase1a(ballot=ballot):
            require(ballot >= 1, "phase 1 is for ballots of 1 and above; 0 has one owner (R6)")
            # R9: strictly greater.  Were it idempotent, two leaders could share a ballot.
            if ballot <= row.promised:
                return Refuse(Outbid(txid, acceptor, row.promised))
            return Persist(
                replace(row, promised=ballot), Phase1b(txid, acceptor, ballot, row.accepted)
            )
        case Phase2a(ballot=ballot, values=values):
            require(ballot >= 0 and bool(values), "phase 2a without a ballot or without values")
            if epoch.sealed and ballot == 0 and row == UNKNOWN:
                return Refuse(Sealed(txid, acceptor))
            if ballot < row.promised:
                return Refuse(Outbid(txid, acceptor, row.promised))
            for instance, value in values.items():
                held = row.accepted.get(instance)
                if held is not None and held.ballot == ballot and held.value != value:
                    return Refuse(Conflict(txid, acceptor, row.promised))
            # R10: accepting raises the promise (trap 31a: two outcomes in 14 steps without it).
            taken = {instance: Accepted(ballot, value) for instance, value in values.items()}
            return Persist(
                Row(promised=ballot, accepted={**row.accepted, **taken}),
                Phase2b(txid, acceptor, ballot, values),
            )
