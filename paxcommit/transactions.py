"""What a transaction is to both coordinators: its id, its branches, its options, its fate."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from paxcommit.errors import (
    ClusterError,
    ConfigurationError,
    EnlistError,
    OutcomeUnknown,
    ParticipantUnavailable,
    TransactionAborted,
    UsageError,
)
from paxcommit.ids import MAX_DEADLINE, Gid, Incarnation, TxId
from paxcommit.ports import BeginOptions, Isolation
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import Tell
from paxcommit.protocol.resource_manager import RETRYABLE
from paxcommit.protocol.values import Outcome
from paxcommit.runtime.committing import Enlisted
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.preference import Choice
from paxcommit.settings import Settings
from paxcommit.sql.statement import DatabaseError, Unanswered

__all__ = [
    "Branch",
    "TransactionBase",
    "TransactionState",
    "Wait",
    "as_refusal",
    "check_deadline",
    "check_wait",
    "is_retryable",
]

_log = logging.getLogger("paxcommit.transaction")
_Session = TypeVar("_Session")

_MIN_FINISH = 1.0
"""Seconds that applying a decision may take at least."""

Wait = Literal["applied", "decided"]
"""When leaving the block returns: once the decision is applied everywhere, or once it is made."""


def is_retryable(error: BaseException) -> bool:
    """Whether the same work may succeed in a *new* transaction.

    True for `TransactionAborted` that says so, and for a driver's serialization failure or
    deadlock that ended the block itself; never for `OutcomeUnknown`.
    """
    if isinstance(error, TransactionAborted):
        return error.retryable
    return getattr(error, "sqlstate", None) in RETRYABLE


@dataclass(slots=True)
class Branch(Generic[_Session]):
    """One participant's part of a transaction.

    Attributes:
        session: Where it runs.
        enlisted: What the SQL side needs to know.
        ours: Whether the session comes from our pool, else from the user.
    """

    session: _Session
    enlisted: Enlisted
    ours: bool


@dataclass(slots=True)
class TransactionState(Generic[_Session]):
    """The state of one transaction, without any I/O.

    Attributes:
        txid: Its id.
        digest: Of the epoch record.
        registered: Participants that F+1 acceptors knew before the id was drawn (R2).
        choose: Tells whom to ask, given the seconds that it may take.
        deadline: Seconds for a decision once the block is left.
        finish: Seconds for applying it.
        options: Of every branch, unless a connection says otherwise.
        branches: By participant.
        outcome: As far as known.
        told: What the protocol said, None before.
        unapplied: Per participant, why the decision is not applied there yet.
    """

    txid: TxId
    digest: str
    registered: frozenset[str]
    choose: Callable[[float], Choice]
    deadline: float
    finish: float
    options: BeginOptions
    branches: dict[str, Branch[_Session]] = field(default_factory=dict)
    outcome: Outcome = Outcome.OPEN
    told: Tell | None = None
    unapplied: Mapping[str, str] = field(default_factory=dict)
    joining: set[str] = field(default_factory=set)
    phase: Literal["new", "open", "ending", "over"] = "new"

    @classmethod
    def new(
        cls,
        incarnation: Incarnation,
        members: Membership,
        deadline: float,
        options: BeginOptions,
    ) -> TransactionState[_Session]:
        """A transaction that is not entered yet."""
        registered = members.confirmed  # before the id is drawn, or R23 fences too few
        return cls(
            incarnation.next_txid(),
            members.record.digest,
            registered,
            members.choose,
            deadline,
            max(deadline, _MIN_FINISH),
            options,
        )

    def options_for(self, isolation: Isolation | None, read_only: bool | None) -> BeginOptions:
        """What a connection asks for, else what the transaction says."""
        return BeginOptions(
            self.options.isolation if isolation is None else isolation,
            self.options.read_only if read_only is None else read_only,
        )

    def begin(self) -> None:
        """Enter the block."""
        if self.phase != "new":
            raise UsageError(f"transaction {self.txid} was entered before; make a new one")
        self.phase = "open"

    def own_branch(self, participant: str) -> Branch[_Session] | None:
        """The participant's branch if it runs on a connection of ours; None if it has none.

        Raises:
            EnlistError: It runs on a connection of the user's.
        """
        branch = self.branches.get(participant)
        if branch is not None and not branch.ours:
            raise EnlistError(f"participant {participant!r} was enlisted; use that connection")
        return branch

    def join(self, participant: str) -> None:
        """Reserve the participant's one branch (R4).

        Raises:
            UsageError: The block was left or not entered yet.
            EnlistError: The participant takes part already.
        """
        if self.phase != "open":
            raise UsageError(
                f"transaction {self.txid} is {self._phase_in_words()}: nothing can join it now"
            )
        if participant in self.joining:
            raise EnlistError(
                f"participant {participant!r} takes part in {self.txid} already; a participant "
                f"has one branch per transaction"
            )
        self.joining.add(participant)

    def _phase_in_words(self) -> str:
        return {"new": "not entered yet", "open": "open"}.get(self.phase, "ending or over")

    def joined(
        self, participant: str, session: _Session, *, role: str | None, read_only: bool, ours: bool
    ) -> None:
        """Record a branch whose transaction has begun."""
        gid = Gid(self.digest, self.txid, participant, max(1, math.ceil(self.deadline)))
        self.branches[participant] = Branch(session, Enlisted(gid, role, read_only), ours)

    @property
    def all_ours(self) -> bool:
        """Whether no branch runs on a connection of the user's."""
        return all(branch.ours for branch in self.branches.values())

    def end(self, error: BaseException | None) -> CommitMachine:
        """Leave the block: the machine that commits, or aborts if `error` ended it."""
        self.phase = "ending"
        choice = self.choose(self.deadline)
        return CommitMachine(
            self.txid,
            sorted(self.branches),
            Terms(choice.acceptors, self.deadline, self.finish, choice.hedge),
            abort=None if error is None else f"the block raised {type(error).__name__}",
            retryable=error is not None and is_retryable(error),
            one_phase=self.branches.keys() <= self.registered,
        )

    def tell(self, tell: Tell) -> None:
        """Hear the decision."""
        self.told, self.outcome = tell, tell.outcome
        level = logging.WARNING if tell.outcome is Outcome.OPEN else logging.DEBUG
        _log.log(level, "transaction %s: %s %s", self.txid, tell.outcome, tell.reason)

    def ended(self, machine: CommitMachine) -> None:
        """Take what the machine leaves."""
        self.phase = "over"
        self.unapplied = {
            **machine.unapplied,
            **{name: damage.detail for name, damage in machine.damage.items()},
        }
        for participant, reason in self.unapplied.items():
            _log.warning(
                "transaction %s is %s, not applied at %s yet (recovery will): %s",
                self.txid, self.outcome, participant, reason,
            )  # fmt: skip

    def raise_unless_committed(self) -> None:
        """Say what leaving the block has to say.

        Raises:
            TransactionAborted, OutcomeUnknown: See there.
        """
        tell = self.told or Tell(Outcome.OPEN, "the commit was interrupted")
        match tell.outcome:
            case Outcome.ABORTED:
                raise TransactionAborted(self.txid, tell.reason, retryable=tell.retryable)
            case Outcome.OPEN:
                raise OutcomeUnknown(self.txid, tell.reason)
            case Outcome.COMMITTED:
                pass


class TransactionBase(Generic[_Session]):
    """What the two surfaces' transactions show alike."""

    def __init__(self, state: TransactionState[_Session]) -> None:
        self._state = state

    @property
    def id(self) -> TxId:
        """Its id; exists from the start.  ``str(tx.id)`` is what the command line takes."""
        return self._state.txid

    @property
    def outcome(self) -> Outcome:
        """As far as this process knows; `Outcome.OPEN` until it is told."""
        return self._state.outcome

    @property
    def unapplied(self) -> Mapping[str, str]:
        """Per participant, why the decision is not applied there yet; recovery will (R24)."""
        return self._state.unapplied


def check_deadline(deadline: float | None, settings: Settings) -> float:
    """Return the deadline to use, in seconds.

    Raises:
        ConfigurationError: It is not positive, or longer than a gid can spell.
    """
    seconds = settings.deadline if deadline is None else float(deadline)
    if not 0 < seconds <= MAX_DEADLINE:
        raise ConfigurationError(
            f"deadline={deadline!r}: give seconds, more than 0 and at most {MAX_DEADLINE}"
        )
    return seconds


def check_wait(wait: str) -> None:
    """Refuse anything but the two ways to wait.

    Raises:
        ConfigurationError: It is another word.
    """
    if wait not in ("applied", "decided"):
        raise ConfigurationError(f"wait={wait!r}: say 'applied' or 'decided'")


def as_refusal(participant: str, error: BaseException, *, ours: bool) -> BaseException:
    """Say what an error means for the caller who asked for a branch.

    Args:
        participant: Whose.
        error: What happened; nothing was done in that database.
        ours: Whether the session is from our pool, else the user's own.
    """
    if isinstance(error, DatabaseError | Unanswered):
        kind = ParticipantUnavailable if ours else EnlistError
        return kind(f"participant {participant}: {error}; nothing was done there")
    if not ours and isinstance(error, ClusterError):
        return EnlistError(f"participant {participant}: {error}")
    return error
