"""The recoverer of one transaction: learn, else lead, then apply (R25; R23 when forced).

Any number of recoverers and the coordinator itself may run at once: what they decide is Paxos's
business, and applying is idempotent.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from paxcommit.ids import TxId
from paxcommit.protocol.applying import Applying
from paxcommit.protocol.effects import Effect, Event, Send, SetTimer, Tell, TimerFired, Verdict
from paxcommit.protocol.fencing import Fencing, Finding
from paxcommit.protocol.finishing import Damage
from paxcommit.protocol.leader import Leader
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import (
    AcceptorName,
    Learn,
    Learned,
    LostVotes,
    NoAnswer,
    Retired,
    Sealed,
)
from paxcommit.protocol.values import REGISTRAR, Outcome

__all__ = ["Mandate", "RecoveryMachine", "Resolution"]

_GIVE_UP = "give-up"

# Why it stops without an outcome, as far as that is the same each time.
_UNLEARNT = "no decision is among what the acceptors hold"
_TOO_FEW = "acceptors answer; it waits"
_TOO_LATE = "no F+1 acceptors agreed in time; it waits"


class Mandate(enum.Enum):
    """How far a recoverer may go with a transaction."""

    LEARN = "only learn: its coordinator lives and its deadline has not passed"
    LEAD = "lead a ballot: a branch is prepared, and the coordinator is dead or late"
    FORCE = "somebody asked for an outcome, with or without a branch (R23)"


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a recoverer found out.

    Attributes:
        outcome: Committed, aborted, or open.
        reason: Why it is open, or how it is known; in words.
        damage: A contradiction found before anything was decided (R23), by participant.
    """

    outcome: Outcome
    reason: str
    damage: tuple[str, ...] = ()


class _State(enum.Enum):
    LEARNING = enum.auto()
    FENCING = enum.auto()
    LEADING = enum.auto()
    APPLYING = enum.auto()
    DONE = enum.auto()


class RecoveryMachine:
    """Resolves one transaction and applies the decision to every participant it serves.

    Args:
        txid: The transaction.
        acceptors: All 2F+1, by name.
        served: Participants whose databases this recoverer can act on.
        seen: Participants of it at which a gid was seen.
        mandate: How far it may go.
        patience: Seconds before it gives up and says open.
        registered: With `Mandate.FORCE`: every participant registered on F+1 acceptors (R2).
    """

    def __init__(
        self,
        txid: TxId,
        acceptors: Sequence[AcceptorName],
        *,
        served: Collection[str],
        seen: Collection[str] = (),
        mandate: Mandate,
        patience: float,
        registered: Sequence[str] = (),
    ) -> None:
        self.txid = txid
        self.resolution = Resolution(Outcome.OPEN, "not asked yet")
        self._acceptors = tuple(acceptors)
        self._served = frozenset(served)
        self._seen = frozenset(seen)
        self._mandate = mandate
        self._patience = patience
        self._learner = Learner(txid, len(acceptors) // 2 + 1)
        self._leader = Leader(txid, acceptors, self._learner)
        self._fencing = Fencing(registered)
        self._applying = Applying({})
        self._unserved: dict[str, str] = {}
        self._answered: set[AcceptorName] = set()
        self._silent: set[AcceptorName] = set()
        self._under_way: set[AcceptorName] = set()
        self._stale: set[AcceptorName] = set()
        self._known = False
        self._registrar_known = False
        self._committed_branch = ""
        self._state = _State.LEARNING

    @property
    def done(self) -> bool:
        """Whether nothing more will come of it."""
        return self._state is _State.DONE

    @property
    def unapplied(self) -> dict[str, str]:
        """Per participant, why the decision is not applied there."""
        return {**self._unserved, **self._applying.unapplied}

    @property
    def damage(self) -> dict[str, Damage]:
        """Per participant, how its database contradicts what is decided or could be (R19, R20)."""
        undecided = {
            name: Damage("committed-undecided", "a branch is committed, but no J was ever queued")
            for name in self.resolution.damage
        }
        return {**undecided, **self._applying.damage}

    def start(self) -> list[Effect]:
        """Ask every acceptor what it holds."""
        return [SetTimer(_GIVE_UP, self._patience), *self._learn()]

    def handle(self, event: Event) -> list[Effect]:
        """Take one event, return what follows from it."""
        match event, self._state:
            case _, _State.DONE:
                return []
            case TimerFired(name=name), _:
                return self._give_up() if name == _GIVE_UP else []
            case _, _State.APPLYING:
                effects = self._applying.handle(event)
                self._close_if_applied()
                return effects
            case (
                Learned() | NoAnswer() | LostVotes() | Retired() | Sealed(),
                _State.LEARNING | _State.FENCING,
            ):
                return self._asked(event)
            case Learned(), _:
                self._heard(event)
                return self._apply_if_decided()
            case _, _State.FENCING:
                effects = self._fencing.handle(event)
                return effects or self._after_fencing()
            case _, _State.LEADING:
                effects = self._leader.handle(event)
                return self._apply_if_decided() or effects
            case _:
                return []

    # --- learning -------------------------------------------------------------------------------

    def _learn(self) -> list[Effect]:
        self._answered, self._silent = set(), set()
        # Asked a second time, an answer still under way from the first is too old to be evidence.
        self._stale = set(self._under_way)
        return [e for name in self._acceptors if name not in self._stale for e in self._ask(name)]

    def _ask(self, acceptor: AcceptorName) -> list[Effect]:
        self._under_way.add(acceptor)
        return [Send(acceptor, Learn(self.txid))]

    def _asked(self, event: Learned | NoAnswer | LostVotes | Retired | Sealed) -> list[Effect]:
        self._under_way.discard(event.acceptor)
        if isinstance(event, Learned):
            self._heard(event)
        if self._state is _State.FENCING:
            return self._apply_if_decided()
        if event.acceptor in self._stale:
            self._stale.discard(event.acceptor)
            return self._apply_if_decided() or self._ask(event.acceptor)
        (self._answered if isinstance(event, Learned) else self._silent).add(event.acceptor)
        return self._next()

    def _heard(self, answer: Learned) -> None:
        self._learner.add(answer.acceptor, answer.accepted)
        self._leader.heard_of(answer.promised)
        self._known = self._known or answer.promised >= 0
        self._registrar_known = self._registrar_known or REGISTRAR in answer.accepted

    def _next(self) -> list[Effect]:
        """Go on once enough acceptors have answered."""
        if decided := self._apply_if_decided():
            return decided
        if self.done:
            return []
        quorum, everybody = self._learner.quorum, len(self._acceptors)
        if everybody - len(self._silent) < quorum:
            return self._stop(f"only {everybody - len(self._silent)} {_TOO_FEW}")
        if len(self._answered) < quorum:
            return []
        match self._mandate:
            case Mandate.LEARN:
                if len(self._answered) + len(self._silent) < everybody:
                    return []
                reason = _UNLEARNT
                if self._silent:
                    silent = ", ".join(sorted(self._silent))
                    reason = f"{reason} that answer; {silent} may hold one, and force finds it"
                return self._stop(reason)
            case Mandate.LEAD:
                return self._lead()
            case Mandate.FORCE if self._committed_branch and not self._registrar_known:
                return self._stop("a branch is committed, but no J", (self._committed_branch,))
            case Mandate.FORCE if self._known:
                return self._lead()
            case Mandate.FORCE:
                self._state = _State.FENCING
                return self._fencing.start() or self._after_fencing()

    def _lead(self) -> list[Effect]:
        self._state = _State.LEADING
        return self._leader.start()

    # --- forcing (R23) --------------------------------------------------------------------------

    def _after_fencing(self) -> list[Effect]:
        match self._fencing.finding:
            case None:
                return []
            case Finding.LEAD:
                return self._lead()
            case Finding.COMMITTED:
                self.resolution = Resolution(Outcome.COMMITTED, self._fencing.reason)
                self._state = _State.DONE
                return [Tell(Outcome.COMMITTED, self._fencing.reason)]
            case Finding.OPEN:
                return self._stop(self._fencing.reason)
            case Finding.BRANCH:
                # Either J was queued since we asked, or a branch was committed by hand: ask again.
                self._committed_branch = self._fencing.reason
                self._state = _State.LEARNING
                return self._learn()

    # --- the end --------------------------------------------------------------------------------

    def _apply_if_decided(self) -> list[Effect]:
        outcome = self._learner.outcome
        if outcome is Outcome.OPEN:
            return []
        self._state = _State.APPLYING
        self.resolution = Resolution(outcome, f"F+1 acceptors hold it: {outcome}")
        self._applying = Applying(self._verdicts(outcome))
        effects: list[Effect] = [Tell(outcome), *self._applying.start()]
        self._close_if_applied()
        return effects

    def _verdicts(self, outcome: Outcome) -> dict[str, Verdict]:
        if outcome is Outcome.ABORTED:
            return dict.fromkeys(self._served, Verdict.ROLL_BACK_AND_FENCE)  # R20
        chosen = self._learner.participants
        names = chosen.names if chosen is not None else ()
        verdicts = {name: Verdict.COMMIT for name in names if name in self._served}
        if self._served:
            strangers = set(names) - self._served
            self._unserved = dict.fromkeys(strangers, "not in the settings of this recoverer")
        for name in self._seen - set(names):
            verdicts[name] = Verdict.ROLL_BACK  # R7: a branch outside the chosen J
        return verdicts

    def _close_if_applied(self) -> None:
        if self._applying.done:
            self._state = _State.DONE

    def _give_up(self) -> list[Effect]:
        if self._state is _State.APPLYING:
            self._applying.give_up()
            self._state = _State.DONE
            return []
        return self._stop(_TOO_LATE)

    def _stop(self, reason: str, damage: tuple[str, ...] = ()) -> list[Effect]:
        self.resolution = Resolution(Outcome.OPEN, reason, damage)
        self._state = _State.DONE
        return [Tell(Outcome.OPEN, reason)]
