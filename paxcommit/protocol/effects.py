"""What a machine asks of the world, and what the world tells it: one frozen class each.

A machine's methods return a list of effects.  The runtime performs each exactly once and feeds
back exactly one event for it, in any order and after any time; a crash simply stops doing so.
No effect promises that it happened: every event that is not proof says Unknown.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from paxcommit.protocol.finishing import FinishAnswer
from paxcommit.protocol.messages import AcceptorAnswer, AcceptorName, Learn, Phase1a, Request
from paxcommit.protocol.resource_manager import BranchAnswer
from paxcommit.protocol.values import Outcome

__all__ = [
    "Abandon",
    "Apply",
    "ApplyAnswered",
    "Backoff",
    "BackoffOver",
    "BranchAnswered",
    "CommitOnly",
    "CommitReader",
    "Effect",
    "Event",
    "Fence",
    "FenceAnswer",
    "FenceAnswered",
    "FenceBlocked",
    "FenceStands",
    "FenceUnreachable",
    "Machine",
    "Operation",
    "Prepare",
    "Send",
    "SetTimer",
    "Tell",
    "Terminate",
    "TimerFired",
    "Verdict",
]


# --- branches ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Insert the branch row and PREPARE, in one round trip.  Event: `BranchAnswered`."""

    participant: str
    step: ClassVar[str] = "prepare"


@dataclass(frozen=True, slots=True)
class CommitOnly:
    """Commit the only participant in one phase (R17).  Event: `BranchAnswered`."""

    participant: str
    step: ClassVar[str] = "commit-only"


@dataclass(frozen=True, slots=True)
class CommitReader:
    """Really commit a serializable reader, before the first 2a (R15).  Event: `BranchAnswered`."""

    participant: str
    step: ClassVar[str] = "commit-reader"


@dataclass(frozen=True, slots=True)
class BranchAnswered:
    """A branch's answer to `Prepare`, `CommitOnly` or `CommitReader`."""

    participant: str
    answer: BranchAnswer


@dataclass(frozen=True, slots=True)
class Abandon:
    """Cut the branch's connection; whatever it is waiting for ends in Unknown.  No event."""

    participant: str
    step: ClassVar[str] = "abandon"


class Verdict(enum.Enum):
    """What to do with a branch."""

    COMMIT = "commit-prepared"
    ROLL_BACK = "rollback-prepared"
    ROLL_BACK_AND_FENCE = "rollback-and-fence"
    ROLL_BACK_OPEN = "rollback-open"
    COMMIT_READER = "end-reader"
    ROLL_BACK_READER = "drop-reader"


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring a branch to where the decision wants it.  Event: `ApplyAnswered`."""

    participant: str
    verdict: Verdict

    @property
    def step(self) -> str:
        """The failpoint's name."""
        return self.verdict.value


@dataclass(frozen=True, slots=True)
class ApplyAnswered:
    """What came of an `Apply`."""

    participant: str
    answer: FinishAnswer


# --- acceptors --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request to an acceptor.  Event: an `AcceptorAnswer` (at worst `NoAnswer`)."""

    acceptor: AcceptorName
    request: Request

    @property
    def participant(self) -> str:
        """The failpoint's target."""
        return self.acceptor

    @property
    def step(self) -> str:
        """The failpoint's name."""
        if isinstance(self.request, Phase1a):
            return "phase1a"
        return "learn" if isinstance(self.request, Learn) else "phase2a"


# --- fences (R23) -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fence:
    """Look for a gid of the transaction, else insert a fence, *without* rolling anything back.

    Event: `FenceAnswered`.
    """

    participant: str
    step: ClassVar[str] = "fence"


@dataclass(frozen=True, slots=True)
class FenceStands:
    """A committed row is in the place: of kind ``fence``, ``only`` or ``branch``."""

    kind: str


@dataclass(frozen=True, slots=True)
class FenceBlocked:
    """No row yet: a gid of the transaction exists, or the insert waits for somebody.

    Attributes:
        prepared: A gid, or a wait whose ``pg_blocking_pids`` is {0}.
        pid: Else the running backend waited for, 0 if it was gone when we looked.
        backend_start: When that backend started, in microseconds since 1970.
    """

    prepared: bool
    pid: int = 0
    backend_start: int = 0


@dataclass(frozen=True, slots=True)
class FenceUnreachable:
    """The participant could not be asked."""

    reason: str


FenceAnswer: TypeAlias = FenceStands | FenceBlocked | FenceUnreachable


@dataclass(frozen=True, slots=True)
class FenceAnswered:
    """What came of a `Fence`."""

    participant: str
    answer: FenceAnswer


@dataclass(frozen=True, slots=True)
class Terminate:
    """End the running backend that a fence waits for, if it still is that one.

    Event: `FenceAnswered`, of a fresh attempt to fence.
    """

    participant: str
    pid: int
    backend_start: int
    step: ClassVar[str] = "terminate"


# --- time -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Feed back ``TimerFired(name)`` after `seconds`."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A `SetTimer` is over.  A machine that no longer waits for it ignores it."""

    name: str


@dataclass(frozen=True, slots=True)
class Backoff:
    """Feed back ``BackoffOver(name)`` after a random time that grows with `attempt` (from 1)."""

    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class BackoffOver:
    """A `Backoff` is over."""

    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """The transaction's owner may be told now.  No event.

    Attributes:
        outcome: `Outcome.OPEN` means: not known (R22).
        reason: Why it is not committed, in words.
        retryable: Whether a new transaction may fare better.
    """

    outcome: Outcome
    reason: str = ""
    retryable: bool = False


Operation: TypeAlias = Prepare | CommitOnly | CommitReader | Apply | Send | Fence | Terminate
"""Effects that are carried out somewhere and have an event; each has a step and a target."""

Effect: TypeAlias = Operation | Abandon | SetTimer | Backoff | Tell
Event: TypeAlias = (
    BranchAnswered | ApplyAnswered | AcceptorAnswer | FenceAnswered | TimerFired | BackoffOver
)


class Machine(Protocol):
    """A protocol machine, as the runtime drives it."""

    @property
    def done(self) -> bool:
        """Whether nothing more will come of it."""

    def start(self) -> list[Effect]:
        """The first effects."""

    def handle(self, event: Event) -> list[Effect]:
        """Take one event, return what follows from it."""
