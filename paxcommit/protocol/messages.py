"""One frozen class per message between leaders and acceptors (Gray & Lamport, section 4.1).

A message concerns one transaction and carries *all* its instances: the promise is shared (R8) and
a bundle is accepted or refused as a whole (R10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.values import Instance, Value

__all__ = [
    "Accepted",
    "AcceptorAnswer",
    "AcceptorName",
    "Conflict",
    "Learn",
    "Learned",
    "LostVotes",
    "NoAnswer",
    "Outbid",
    "Phase1a",
    "Phase1b",
    "Phase2a",
    "Phase2b",
    "Request",
    "Retired",
    "Sealed",
]

AcceptorName: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What an acceptor last accepted in one instance: the value, and at which ballot."""

    ballot: Ballot
    value: Value


@dataclass(frozen=True, slots=True)
class Phase1a:
    """A leader asks for a promise for every instance of the transaction, known or not."""

    txid: TxId
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Phase1b:
    """Promised, and everything accepted so far."""

    txid: TxId
    acceptor: AcceptorName
    ballot: Ballot
    accepted: Mapping[Instance, Accepted]


@dataclass(frozen=True, slots=True)
class Phase2a:
    """A leader (at ballot 0: the incarnation that owns the instances) proposes values."""

    txid: TxId
    ballot: Ballot
    values: Mapping[Instance, Value]


@dataclass(frozen=True, slots=True)
class Phase2b:
    """Accepted, all of the bundle."""

    txid: TxId
    acceptor: AcceptorName
    ballot: Ballot
    values: Mapping[Instance, Value]


@dataclass(frozen=True, slots=True)
class Learn:
    """Asks what an acceptor holds; promises nothing."""

    txid: TxId


@dataclass(frozen=True, slots=True)
class Learned:
    """What an acceptor holds; `promised` is -1 and `accepted` empty if it knows nothing."""

    txid: TxId
    acceptor: AcceptorName
    promised: Ballot
    accepted: Mapping[Instance, Accepted]


@dataclass(frozen=True, slots=True)
class Outbid:
    """Refused: a ballot at least as high is promised.  Says nothing about the outcome (R21)."""

    txid: TxId
    acceptor: AcceptorName
    promised: Ballot


@dataclass(frozen=True, slots=True)
class Conflict:
    """Refused: another value was accepted at this very ballot.  Somebody broke R6; reported."""

    txid: TxId
    acceptor: AcceptorName
    promised: Ballot


@dataclass(frozen=True, slots=True)
class Sealed:
    """Refused: the epoch is sealed, and ballot 0 of an unknown transaction comes too late (R30)."""

    txid: TxId
    acceptor: AcceptorName


@dataclass(frozen=True, slots=True)
class Retired:
    """Refused: the epoch is retired; whatever was decided is applied (R30)."""

    txid: TxId
    acceptor: AcceptorName


@dataclass(frozen=True, slots=True)
class LostVotes:
    """Refused: the acceptor is below a mark that somebody remembers; it lost votes (R13)."""

    txid: TxId
    acceptor: AcceptorName


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer came, or none that counts; whether the request took effect is Unknown."""

    txid: TxId
    acceptor: AcceptorName
    reason: str


Request: TypeAlias = Phase1a | Phase2a | Learn
AcceptorAnswer: TypeAlias = (
    Phase1b | Phase2b | Learned | Outbid | Conflict | Sealed | Retired | LostVotes | NoAnswer
)
