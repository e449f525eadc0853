"""Learning: what is chosen, and what follows from it for the transaction (R5, R7; section 4.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from paxcommit.errors import require
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.messages import Accepted, AcceptorName
from paxcommit.protocol.values import (
    REGISTRAR,
    Instance,
    Outcome,
    ParticipantSet,
    Value,
    Vote,
)

__all__ = ["Learner", "judge"]


class Learner:
    """Counts what acceptors have accepted, and knows what that chooses.

    A value is chosen once F+1 *distinct* acceptors have accepted it at *one* ballot (trap 26:
    counting across ballots, or one acceptor twice, half-commits).  It does not matter whether an
    acceptor says so in a 2b, in a 1b or when asked: having accepted cannot be undone.

    Args:
        txid: The transaction.
        quorum: F+1.
    """

    def __init__(self, txid: TxId, quorum: int) -> None:
        require(quorum >= 1, "a quorum has at least one acceptor")
        self.txid = txid
        self.quorum = quorum
        self._voters: defaultdict[tuple[Instance, Ballot, Value], set[AcceptorName]] = defaultdict(
            set
        )
        self._chosen: dict[Instance, Value] = {}

    def add(self, acceptor: AcceptorName, accepted: Mapping[Instance, Accepted]) -> None:
        """Take what one acceptor says it has accepted.

        Raises:
            InvariantViolation: Two values are chosen in one instance.
        """
        for instance, vote in accepted.items():
            voters = self._voters[instance, vote.ballot, vote.value]
            voters.add(acceptor)
            if len(voters) >= self.quorum:
                chosen = self._chosen.setdefault(instance, vote.value)
                require(
                    chosen == vote.value,
                    "%s: two values chosen for %r: %s and %s",
                    *(self.txid, instance, chosen, vote.value),
                )

    def add_votes(
        self, acceptor: AcceptorName, ballot: Ballot, values: Mapping[Instance, Value]
    ) -> None:
        """Take one acceptor's phase 2b."""
        self.add(acceptor, {name: Accepted(ballot, value) for name, value in values.items()})

    @property
    def chosen(self) -> Mapping[Instance, Value]:
        """Per instance, the value that is chosen."""
        return self._chosen

    @property
    def outcome(self) -> Outcome:
        """Committed, aborted, or open as far as heard."""
        return judge(self._chosen)

    @property
    def participants(self) -> ParticipantSet | None:
        """The chosen J, if one is chosen."""
        value = self._chosen.get(REGISTRAR)
        return value if isinstance(value, ParticipantSet) else None


def judge(chosen: Mapping[Instance, Value]) -> Outcome:
    """Tell the outcome from the chosen values (R5).

    Committed iff the registrar chose a J and every RM of J chose Prepared; aborted iff the
    registrar chose Aborted or some RM of J did.  An RM that is not in J decides nothing.
    """
    match chosen.get(REGISTRAR):
        case None:
            return Outcome.OPEN
        case ParticipantSet(names=names):
            votes = [chosen.get(name) for name in names]
            if Vote.ABORTED in votes:
                return Outcome.ABORTED
            if all(vote is Vote.PREPARED for vote in votes):
                return Outcome.COMMITTED
            return Outcome.OPEN
        case refusal:
            require(refusal is Vote.ABORTED, f"the registrar cannot choose {refusal}")
            return Outcome.ABORTED
