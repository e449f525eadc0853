"""The coordinator of one transaction: from leaving the block to the last branch applied.

States, in order; each goes forward only::

    PREPARING --all yes--> (READERS) --> DECIDING --F+1 equal 2b--> APPLYING --> DONE
        |                     |              |
        +------- a no --------+              +-- refused or unanswered: leads ballots >= 1 (R21)
        v                                    +-- deadline: Unknown, and recovery's --> DONE
      ABORTING --> APPLYING --> DONE

Until J is queued for any acceptor, nobody but this coordinator can commit the transaction, so it
may simply roll back (R21): that is ABORTING, and it is definite (R22).  From then on it may only
learn, or lead a ballot like anybody.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paxcommit.errors import require
from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.applying import Applying
from paxcommit.protocol.effects import (
    Abandon,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Effect,
    Event,
    Prepare,
    Send,
    SetTimer,
    Tell,
    TimerFired,
    Verdict,
)
from paxcommit.protocol.finishing import Damage
from paxcommit.protocol.leader import Leader
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import AcceptorName, Phase2a, Phase2b
from paxcommit.protocol.resource_manager import (
    No,
    OnlyCommitted,
    Prepared,
    ResourceManager,
    Unknown,
    WroteNothing,
)
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value

__all__ = ["CommitMachine", "Terms"]

_DEADLINE = "deadline"
_FINISH = "finish"
_HEDGE = "hedge"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a commit runs under.

    Attributes:
        acceptors: All 2F+1, by name; the F+1 in front are asked first.
        deadline: Seconds for a decision, from the start of the commit.
        finish: Seconds for applying it, from the decision; what is not applied then is recovery's.
        hedge: Seconds after which the other F are asked, too, if nothing is decided; 0: ask all
            at once.
    """

    acceptors: tuple[AcceptorName, ...]
    deadline: float
    finish: float
    hedge: float = 0.0

    @property
    def quorum(self) -> int:
        """F+1."""
        return len(self.acceptors) // 2 + 1


class _State(enum.Enum):
    PREPARING = enum.auto()
    READERS = enum.auto()
    DECIDING = enum.auto()
    ABORTING = enum.auto()
    APPLYING = enum.auto()
    DONE = enum.auto()


class CommitMachine:
    """Commits one transaction whose branches are all in this process.

    Args:
        txid: The transaction, drawn by this very incarnation (R6).
        participants: The enlisted participants.
        terms: Acceptors and times.
        abort: A reason to abort from the outset, or None to commit.
        retryable: Whether that reason makes a new transaction worthwhile.
        one_phase: Whether a lone participant may commit in one phase (R17): only if it was
            registered before the id was drawn, for whoever forces an outcome fences no other (R23).
    """

    def __init__(
        self,
        txid: TxId,
        participants: Sequence[str],
        terms: Terms,
        *,
        abort: str | None = None,
        retryable: bool = False,
        one_phase: bool = True,
    ) -> None:
        self.txid = txid
        self._one_phase = one_phase and len(participants) == 1
        self._terms = terms
        self._rms = {name: ResourceManager(name) for name in participants}
        self._doomed = abort is not None
        self._reason = abort or ""
        self._retryable = retryable
        self._state = _State.PREPARING
        self._learner = Learner(txid, terms.quorum)
        self._leader = Leader(txid, terms.acceptors, self._learner)
        self._unanswered = set(participants)
        self._readers: dict[str, bool] = {}
        self._applying = Applying({})
        self._rest: list[Effect] = []

    # --- what the owner may read ----------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether nothing more will come of it."""
        return self._state is _State.DONE

    @property
    def unapplied(self) -> Mapping[str, str]:
        """Per participant, why the decision could not be applied there yet (R24)."""
        return self._applying.unapplied

    @property
    def damage(self) -> Mapping[str, Damage]:
        """Per participant, how its database contradicts the decision (R19)."""
        return self._applying.damage

    # --- events ---------------------------------------------------------------------------------

    def start(self) -> list[Effect]:
        """Begin."""
        if self._doomed:
            self._unanswered.clear()
            return self._roll_back()
        deadline = SetTimer(_DEADLINE, self._terms.deadline)
        match list(self._rms):
            case []:
                return self._decided(Outcome.COMMITTED, {})
            case [only] if self._one_phase:
                return [deadline, CommitOnly(only)]
            case names:
                return [deadline, *(Prepare(name) for name in names)]

    def handle(self, event: Event) -> list[Effect]:
        """Take one event, return what follows from it."""
        match event, self._state:
            case _, _State.DONE:
                return []
            case TimerFired(name=name), _:
                return self._timer(name)
            case BranchAnswered(), _State.PREPARING | _State.ABORTING:
                return self._branch(event)
            case BranchAnswered(), _State.READERS:
                return self._reader(event)
            case _, _State.DECIDING:
                return self._acceptor(event)
            case _, _State.APPLYING:
                return self._apply(event)
            case _:
                return []

    # --- phase: every branch answers ------------------------------------------------------------

    def _branch(self, event: BranchAnswered) -> list[Effect]:
        rm = self._rms[event.participant]
        self._unanswered.discard(rm.participant)
        if rm.answer is None:  # else a reader's COMMIT, see below
            rm.answered(event.answer)
        if self._one_phase:
            return self._only(rm)
        match event.answer:
            case No(reason=reason, retryable=retryable):
                return self._abort_for(f"{rm.participant}: {reason}", retryable)
            case Unknown(reason=reason):
                return self._abort_for(f"{rm.participant}: {reason}", False)
            case OnlyCommitted():  # a reader's COMMIT, answered after another's failed
                require(
                    rm.participant in self._readers,
                    f"{rm.participant} committed in one phase beside others (R17)",
                )
            case WroteNothing(serializable=serializable):
                self._readers[rm.participant] = serializable
            case Prepared():
                pass
        if self._unanswered:
            return []
        if self._state is _State.ABORTING:
            return self._roll_back()
        return self._commit_readers()

    def _only(self, rm: ResourceManager) -> list[Effect]:
        match rm.answer:
            case OnlyCommitted() | WroteNothing():
                return self._decided(Outcome.COMMITTED, {})
            case No(reason=reason, retryable=retryable):
                return self._decided(
                    Outcome.ABORTED,
                    {rm.participant: Verdict.ROLL_BACK_OPEN},
                    f"{rm.participant}: {reason}",
                    retryable,
                )
            case answer:
                reason = answer.reason if isinstance(answer, Unknown) else "it was prepared"
                return self._unknown(f"{rm.participant}: {reason}")

    def _abort_for(self, reason: str, retryable: bool) -> list[Effect]:
        """Abort; branches that have not answered are waited for, to be rolled back."""
        if not self._doomed:
            self._doomed, self._reason, self._retryable = True, reason, retryable
        self._state = _State.ABORTING
        return [] if self._unanswered else self._roll_back()

    def _roll_back(self) -> list[Effect]:
        require(
            all(rm.may_roll_back for rm in self._rms.values()),
            f"{self.txid}: a branch that voted may not be rolled back without a decision (R6)",
        )
        may_be_prepared = (Prepared, Unknown)
        verdicts = {
            name: Verdict.ROLL_BACK
            if isinstance(rm.answer, may_be_prepared)
            else Verdict.ROLL_BACK_OPEN
            for name, rm in self._rms.items()
        }
        return self._decided(Outcome.ABORTED, verdicts, self._reason, self._retryable)

    # --- phase: serializable readers commit before the first 2a (R15) ---------------------------

    def _commit_readers(self) -> list[Effect]:
        serializable = [name for name, must_commit in self._readers.items() if must_commit]
        if not serializable:
            return self._propose()
        self._state = _State.READERS
        self._unanswered = set(serializable)
        return [CommitReader(name) for name in serializable]

    def _reader(self, event: BranchAnswered) -> list[Effect]:
        name = event.participant
        self._unanswered.discard(name)
        match event.answer:
            case OnlyCommitted():
                del self._readers[name]
            case No(reason=reason, retryable=retryable):
                return self._abort_for(f"{name}: {reason}", retryable)
            case answer:
                reason = answer.reason if isinstance(answer, Unknown) else "did not commit"
                return self._abort_for(f"{name}: {reason}", False)
        return [] if self._unanswered else self._propose()

    # --- phase: the decision --------------------------------------------------------------------

    def _propose(self) -> list[Effect]:
        """Queue J and every vote for the acceptors: from here on, no simple rollback (R21)."""
        voters = [rm for rm in self._rms.values() if isinstance(rm.answer, Prepared)]
        if not voters:  # Nobody wrote anything: there is nothing to decide and no trace (R17).
            return self._decided(Outcome.COMMITTED, self._end_readers(commit=True))
        self._state = _State.DECIDING
        values: dict[Instance, Value] = {
            REGISTRAR: ParticipantSet.of(rm.participant for rm in voters)
        }
        values |= {rm.participant: rm.vote() for rm in voters}
        request = Phase2a(self.txid, Ballot(0), values)
        sends: list[Effect] = [Send(acceptor, request) for acceptor in self._terms.acceptors]
        if self._terms.hedge == 0:
            return sends
        # Any F+1 choose a value; without failures the paper, too, counts F+1 acceptors' writes.
        self._rest = sends[self._terms.quorum :]
        return [*sends[: self._terms.quorum], SetTimer(_HEDGE, self._terms.hedge)]

    def _ask_the_rest(self) -> list[Effect]:
        """The same bundle, so it does not matter when, or whether, it arrives."""
        rest, self._rest = self._rest, []
        return rest

    def _acceptor(self, event: Event) -> list[Effect]:
        # Ballot 0 is used once (R6).  Refused or unanswered by a majority is no abort (R21, trap
        # 28): the leader counts such answers, and goes on with a ballot of its own.
        effects = self._leader.handle(event)
        if not isinstance(event, Phase2b):
            effects = [*self._ask_the_rest(), *effects]
        outcome = self._learner.outcome
        if outcome is Outcome.OPEN:
            return effects
        commit = outcome is Outcome.COMMITTED
        chosen = self._learner.participants
        verdicts = self._end_readers(commit=commit)
        for name, rm in self._rms.items():
            if isinstance(rm.answer, Prepared):
                in_j = commit and chosen is not None and name in chosen.names
                verdicts[name] = Verdict.COMMIT if in_j else Verdict.ROLL_BACK  # R7
        return self._decided(
            outcome,
            verdicts,
            "" if commit else "another process decided it: we were taken for dead, or were late",
            not commit,
        )

    def _end_readers(self, *, commit: bool) -> dict[str, Verdict]:
        verdict = Verdict.COMMIT_READER if commit else Verdict.ROLL_BACK_READER
        return dict.fromkeys(self._readers, verdict)

    # --- phase: applying ------------------------------------------------------------------------

    def _decided(
        self,
        outcome: Outcome,
        verdicts: Mapping[str, Verdict],
        reason: str = "",
        retryable: bool = False,
    ) -> list[Effect]:
        self._state = _State.APPLYING
        self._applying = Applying(verdicts)
        effects: list[Effect] = [Tell(outcome, reason, retryable)]
        effects += self._applying.start()
        if self._applying.done:
            self._state = _State.DONE
        else:
            effects.append(SetTimer(_FINISH, self._terms.finish))
        return effects

    def _apply(self, event: Event) -> list[Effect]:
        effects = self._applying.handle(event)
        if self._applying.done:
            self._state = _State.DONE
        return effects

    def _unknown(self, reason: str) -> list[Effect]:
        self._state = _State.DONE
        return [Tell(Outcome.OPEN, reason)]

    # --- time -----------------------------------------------------------------------------------

    def _timer(self, name: str) -> list[Effect]:
        if name == _HEDGE and self._state is _State.DECIDING:
            return self._ask_the_rest()
        if name == _FINISH and self._state is _State.APPLYING:
            self._applying.give_up()
            self._state = _State.DONE
            return [Abandon(late) for late in self._applying.unapplied]
        if name != _DEADLINE:
            return []
        match self._state:
            case _State.DECIDING:
                return self._unknown(
                    f"no F+1 acceptors agreed within {self._terms.deadline:g} s; "
                    f"recovery finishes it once they answer"
                )
            case _State.PREPARING | _State.READERS | _State.ABORTING:
                waited_for = sorted(self._unanswered)
                cut: list[Effect] = [Abandon(name) for name in waited_for]
                if not self._one_phase:  # a lone COMMIT under way is Unknown, not aborted (R22)
                    reason = f"deadline of {self._terms.deadline:g} s passed waiting for "
                    cut += self._abort_for(reason + ", ".join(waited_for), True)
                # Their answers become Unknown; late gids are rolled back by recovery (trap 4).
                return cut
            case _:
                return []
