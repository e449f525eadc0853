"""What happens in a chaos run: one frozen class per kind of event.

`paxcommit.testing.chaos.history` keeps them in a file, and the judge knows nothing else of a run.
All times are seconds since its start, by one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field

__all__ = [
    "MANUAL_ROLLBACK",
    "RESTORED_ACCEPTOR",
    "VERSION",
    "AcceptorRefused",
    "AcceptorVoted",
    "Answer",
    "Answered",
    "Asked",
    "Begun",
    "Booked",
    "DamageReported",
    "DecoyPlaced",
    "Deed",
    "End",
    "Event",
    "FaultBegun",
    "FaultEnded",
    "FaultSkipped",
    "Final",
    "FinalBank",
    "InDoubt",
    "Leg",
    "Outcome",
    "ProcessEnded",
    "ProcessStarted",
    "Recovered",
    "Run",
    "Seen",
]

VERSION = 1
"""Of the format; a reader refuses any other."""

RESTORED_ACCEPTOR = "restored-acceptor"
"""The kind of fault whose target must refuse to vote from its beginning to its end."""

MANUAL_ROLLBACK = "manual-rollback"
"""The kind of fault that comes with a `Deed`."""

Answer: TypeAlias = Literal["committed", "aborted", "unknown"]
"""What a client was told."""

Outcome: TypeAlias = Literal["committed", "aborted", "open"]
"""What ``outcome()`` said."""

Final: TypeAlias = Literal["committed", "aborted"]


@dataclass(frozen=True, slots=True)
class _Strict:
    """No coercion, no field too many."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False
    )


@dataclass(frozen=True, slots=True)
class _Event(_Strict):
    """Something that happened.

    Attributes:
        at: Seconds since the start.
    """

    at: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Leg(_Strict):
    """What a transaction means to write at one bank.

    Attributes:
        bank: The participant.
        account: Its number.
        amount: What is added to the balance, negative for who pays.
    """

    bank: str
    account: int
    amount: int


@dataclass(frozen=True, slots=True)
class Booked(_Strict):
    """A row of a bank's table of transfers, as found at the end."""

    txid: str
    account: int
    counterpart: str
    amount: int


@dataclass(frozen=True, slots=True)
class Run(_Event):
    """The first line.

    Attributes:
        version: `VERSION`.
        seed: Chose transfers and faults.
        seconds: For how long clients were to work.
        where: Servers of our own, or those of the user's settings.
        driver: Its name.
        cluster: Its name.
        banks: Per bank, the accounts and their balances before the first transaction.
        planned: The kinds of fault that this run means to make; each must fire or be skipped.
        thorough: Whether the run claims to be one of all kinds, so that unknown outcomes,
            recoveries and a minimum of kinds of fault are demanded of it.
    """

    version: int
    seed: int
    seconds: Annotated[float, Field(gt=0)]
    where: Literal["embedded", "config"]
    driver: str
    cluster: str
    banks: Mapping[str, Mapping[int, int]]
    planned: tuple[str, ...]
    thorough: bool
    event: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class ProcessStarted(_Event):
    """A process of clients, or a recoverer.

    Attributes:
        process: Its name; no two lives have the same.
        role: What it is.
        incarnation: As transaction ids spell it; empty for a recoverer.
        pid: The system's number.
    """

    process: str
    role: Literal["coordinator", "recoverer"]
    incarnation: str
    pid: int
    event: Literal["process-started"] = "process-started"


@dataclass(frozen=True, slots=True)
class ProcessEnded(_Event):
    """It is gone, and everything that it said before is written down above.

    Attributes:
        process: Its name.
        how: ``killed`` by us, ``stopped`` gently, or it ``failed``: by itself, or to end in time.
        detail: What is known beside that; may be empty.
    """

    process: str
    how: Literal["killed", "stopped", "failed"]
    detail: str
    event: Literal["process-ended"] = "process-ended"


@dataclass(frozen=True, slots=True)
class Begun(_Event):
    """A client begins a transaction.

    Attributes:
        txid: Its id.
        process: Whose client.
        shape: A ``transfer`` between banks; a ``local`` one within one bank; a ``reader``; or one
            that writes and then raises, so that it must abort: ``self-abort``.
        legs: What it writes if it commits; nothing else, and one row of the table of transfers
            for each.  None for one that only reads, which leaves no trace (R17).
    """

    txid: str
    process: str
    shape: Literal["transfer", "local", "reader", "self-abort"]
    legs: tuple[Leg, ...]
    event: Literal["begun"] = "begun"


@dataclass(frozen=True, slots=True)
class Answered(_Event):
    """The client got its answer.

    Attributes:
        txid: Of which transaction.
        process: Whose client.
        answer: What it was told.
        took: Seconds since it began, by the client's clock.
    """

    txid: str
    process: str
    answer: Answer
    took: Annotated[float, Field(ge=0)]
    event: Literal["answered"] = "answered"


@dataclass(frozen=True, slots=True)
class Asked(_Event):
    """Somebody called ``outcome()`` and got an answer.

    Attributes:
        txid: Of which transaction.
        outcome: What it said.
        by: Who asked.
        forced: Whether it was to decide what was open (R23).
    """

    txid: str
    outcome: Outcome
    by: str
    forced: bool
    event: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Seen(_Event):
    """A reader looked for the rows of an earlier transaction of the same process.

    Its client had been told the outcome before the reader began, and everything was applied then.

    Attributes:
        process: Whose client.
        reader: The id of the transaction that looked.
        of: The id of the one looked for.
        banks: Per bank of its legs, whether all its rows were there.
    """

    process: str
    reader: str
    of: str
    banks: Mapping[str, bool]
    event: Literal["seen"] = "seen"


@dataclass(frozen=True, slots=True)
class FaultBegun(_Event):
    """A fault is there from now on.

    Attributes:
        fault: Its id within the run.
        kind: Which one.
        target: Whom it hits, in words that a person understands.  For `RESTORED_ACCEPTOR`
            exactly the acceptor's name.
    """

    fault: str
    kind: str
    target: str
    event: Literal["fault-begun"] = "fault-begun"


@dataclass(frozen=True, slots=True)
class FaultEnded(_Event):
    """It is over.

    Attributes:
        fault: Its id.
        proof: That it really fired: ``count`` (of connections cut, bytes dropped, processes seen
            dead, …), above zero, and whatever else tells how that is known.
    """

    fault: str
    proof: Mapping[str, int | float | str]
    event: Literal["fault-ended"] = "fault-ended"


@dataclass(frozen=True, slots=True)
class FaultSkipped(_Event):
    """A fault that was not made, or that found nothing to break; it proves nothing.

    Attributes:
        fault: Its id; it ends here if it had begun.
        kind: Which one.
        reason: Why, for a person.
    """

    fault: str
    kind: str
    reason: Annotated[str, Field(min_length=1)]
    event: Literal["fault-skipped"] = "fault-skipped"


@dataclass(frozen=True, slots=True)
class Deed(_Event):
    """We rolled a prepared branch back by hand, as an operator who knows better would."""

    txid: str
    participant: str
    event: Literal["deed"] = "deed"


@dataclass(frozen=True, slots=True)
class DecoyPlaced(_Event):
    """We left a prepared transaction of somebody else's at a bank; nobody may touch it."""

    bank: str
    gid: str
    event: Literal["decoy-placed"] = "decoy-placed"


@dataclass(frozen=True, slots=True)
class InDoubt(_Event):
    """A look at all banks that could be asked.

    Attributes:
        count: Branches prepared, without decoys.
        oldest: The age of the oldest in seconds; 0 if there is none.
        silent: Banks that did not answer, so that nothing is known of theirs.
    """

    count: Annotated[int, Field(ge=0)]
    oldest: Annotated[float, Field(ge=0)]
    silent: Annotated[int, Field(ge=0)]
    event: Literal["in-doubt"] = "in-doubt"


@dataclass(frozen=True, slots=True)
class Recovered(_Event):
    """A recoverer says that it finished a transaction."""

    txid: str
    outcome: Final
    process: str
    event: Literal["recovered"] = "recovered"


@dataclass(frozen=True, slots=True)
class DamageReported(_Event):
    """paxcommit says that a database contradicts a decision (R19, R20)."""

    txid: str
    participant: str
    what: str
    event: Literal["damage-reported"] = "damage-reported"


@dataclass(frozen=True, slots=True)
class AcceptorRefused(_Event):
    """An acceptor was seen to refuse a voting call (R13)."""

    acceptor: str
    reason: str
    event: Literal["acceptor-refused"] = "acceptor-refused"


@dataclass(frozen=True, slots=True)
class AcceptorVoted(_Event):
    """An acceptor was seen to have voted, which nobody looks for unless it must not."""

    acceptor: str
    evidence: str
    event: Literal["acceptor-voted"] = "acceptor-voted"


@dataclass(frozen=True, slots=True)
class FinalBank(_Event):
    """What a bank's database holds after everybody ended.

    Attributes:
        bank: Which.
        accounts: Their balances.
        transfers: Every row.
        prepared: Every gid, also decoys.
        locks: Held by prepared transactions that are no decoys.
    """

    bank: str
    accounts: Mapping[int, int]
    transfers: tuple[Booked, ...]
    prepared: tuple[str, ...]
    locks: Annotated[int, Field(ge=0)]
    event: Literal["final-bank"] = "final-bank"


@dataclass(frozen=True, slots=True)
class End(_Event):
    """The last line.

    Attributes:
        events: How many lines are above it.
    """

    events: int
    event: Literal["end"] = "end"


Event: TypeAlias = (
    Run
    | ProcessStarted
    | ProcessEnded
    | Begun
    | Answered
    | Asked
    | Seen
    | FaultBegun
    | FaultEnded
    | FaultSkipped
    | Deed
    | DecoyPlaced
    | InDoubt
    | Recovered
    | DamageReported
    | AcceptorRefused
    | AcceptorVoted
    | FinalBank
    | End
)
