"""The leader of a ballot of 1 and above: anybody, at any time, any number at once (R25; 4.1, 6).

The registrar is settled first (trap 27: a partial J commits too early).  Because one promise
covers all instances of the transaction (R8), the same phase 1 tells both what the registrar must
choose and what every RM of that J must; so one bundle of phase 2a settles all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from paxcommit.errors import require
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.effects import Backoff, BackoffOver, Effect, Event, Send
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import (
    Accepted,
    AcceptorName,
    Conflict,
    LostVotes,
    NoAnswer,
    Outbid,
    Phase1a,
    Phase1b,
    Phase2a,
    Phase2b,
    Request,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote

__all__ = ["Leader", "proposal"]

_BACKOFF = "ballot"


def proposal(promises: Iterable[Mapping[Instance, Accepted]]) -> dict[Instance, Value]:
    """Choose what to propose, given what F+1 promises say was accepted (section 4.1, phase 2a).

    In each instance the value of the highest ballot; a free instance becomes Aborted, never
    Prepared.  Where the registrar is free the transaction cannot have been committed, and nothing
    but the registrar's Aborted is proposed.

    Args:
        promises: The accepted values of F+1 distinct acceptors.
    """
    highest: dict[Instance, Accepted] = {}
    for accepted in promises:
        for instance, vote in accepted.items():
            if instance not in highest or vote.ballot > highest[instance].ballot:
                highest[instance] = vote
    registrar = highest[REGISTRAR].value if REGISTRAR in highest else Vote.ABORTED
    values: dict[Instance, Value] = {REGISTRAR: registrar}
    if isinstance(registrar, ParticipantSet):
        for name in registrar.names:
            values[name] = highest[name].value if name in highest else Vote.ABORTED
    return values


class Leader:
    """Leads ballots until the outcome is known.  Never stops by itself: who drives it does.

    Args:
        txid: The transaction.
        acceptors: All 2F+1.
        learner: What was heard so far; the leader adds to it.
    """

    def __init__(self, txid: TxId, acceptors: Sequence[AcceptorName], learner: Learner) -> None:
        require(
            len(set(acceptors)) == len(acceptors) == 2 * learner.quorum - 1,
            "a leader needs all 2F+1 acceptors, each once",
        )
        self.txid = txid
        self.learner = learner
        self.ballot = Ballot(0)
        self.attempts = 0
        self._acceptors = tuple(acceptors)
        self._promised = Ballot(0)
        self._promises: dict[AcceptorName, Mapping[Instance, Accepted]] = {}
        self._values: dict[Instance, Value] | None = None
        self._out: set[AcceptorName] = set()
        self._waiting = False

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self.learner.outcome is not Outcome.OPEN

    def heard_of(self, promised: Ballot) -> None:
        """Remember a ballot that is promised somewhere: the next one led is above it."""
        self._promised = max(self._promised, promised)

    def start(self) -> list[Effect]:
        """Begin the next ballot, above every one heard of."""
        self.ballot = Ballot(max(self.ballot, self._promised) + 1)
        self.attempts += 1
        self._promises, self._values, self._out, self._waiting = {}, None, set(), False
        return self._to_all(Phase1a(self.txid, self.ballot))

    def handle(self, event: Event) -> list[Effect]:
        """Take an acceptor's answer, or the end of the backoff."""
        match event:
            case Phase1b(acceptor=acceptor, ballot=ballot, accepted=accepted):
                self.learner.add(acceptor, accepted)
                if ballot == self.ballot and self._values is None and not self.done:
                    return self._promise(acceptor, accepted)
            case Phase2b(acceptor=acceptor, ballot=ballot, values=values):
                self.learner.add_votes(acceptor, ballot, values)
            case Outbid(acceptor=acceptor, promised=promised):
                self.heard_of(promised)
                return self._lost(acceptor)
            case Conflict() | Sealed() | Retired() | LostVotes() | NoAnswer():
                return self._lost(event.acceptor)
            case BackoffOver(name=name) if name == _BACKOFF and self._waiting and not self.done:
                return self.start()
            case _:
                pass
        return []

    def _to_all(self, request: Request) -> list[Effect]:
        return [Send(acceptor, request) for acceptor in self._acceptors]

    def _promise(
        self, acceptor: AcceptorName, accepted: Mapping[Instance, Accepted]
    ) -> list[Effect]:
        self._promises[acceptor] = accepted
        if len(self._promises) < self.learner.quorum:
            return []
        self._values = proposal(self._promises.values())
        self._out = set()
        return self._to_all(Phase2a(self.txid, self.ballot, self._values))

    def _lost(self, acceptor: AcceptorName) -> list[Effect]:
        """Count an acceptor out of this phase; without a quorum left, back off and go higher.

        An answer that belongs to an earlier phase may count one out too soon.  That costs a
        ballot, never safety.
        """
        self._out.add(acceptor)
        if (
            self.done
            or self._waiting
            or len(self._acceptors) - len(self._out) >= self.learner.quorum
        ):
            return []
        self._waiting = True
        return [Backoff(_BACKOFF, max(self.attempts, 1))]  # 0 is the coordinator's ballot 0
