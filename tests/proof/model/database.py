"""A participant's database as one transaction sees it: row, gid, backend, and commands under way.

What the statements do is what `paxcommit/sql` does, step by step where others may come between the
steps: a backend inserts its row, then prepares, perhaps much later; a rollback comes before its
fence.  A command arrives however late, also when its sender is dead (traps 4, 5 and 30).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Event,
    Fence,
    FenceAnswer,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    Prepare,
    Terminate,
    Verdict,
)
from paxcommit.protocol.finishing import Applied, Busy, Damage, FinishAnswer
from paxcommit.protocol.resource_manager import (
    BranchAnswer,
    No,
    OnlyCommitted,
    Prepared,
    Unknown,
    WroteNothing,
)
from tests.proof.model.acceptors import NOBODY, Item
from tests.proof.model.freezing import Interner, freeze

__all__ = ["Command", "Database", "Databases", "FenceOff"]


@dataclass(frozen=True, slots=True)
class FenceOff:
    """The second half of a `Verdict.ROLL_BACK_AND_FENCE`: the gid is gone, now the fence (R20)."""

    participant: str
    step: ClassVar[str] = "fence"


Command: TypeAlias = Prepare | CommitOnly | CommitReader | Apply | FenceOff | Fence | Terminate


@dataclass(frozen=True, slots=True)
class Database:
    """One database.

    Attributes:
        work: What the block did here: ``wrote``, ``read``, ``read-serializable``, ``failed``
            (its PREPARE is refused), ``conflict`` (a serializable reader that cannot commit),
            ``stranger`` (it wrote, and the root never heard of it).
        gid: Whether the branch is prepared.
        row: The kind of the committed branch row.
        running: The kind of row that a running backend has inserted and not committed, and whom
            it answers.
        prepared: Whether it ever was.
        rolled_back: Whether a prepared branch was rolled back.
        ended: Whether a reader has really committed.
        queue: Commands under way, sorted, each at most once.
    """

    work: str = "wrote"
    gid: bool = False
    row: str | None = None
    running: tuple[str, int] | None = None
    prepared: bool = False
    rolled_back: bool = False
    ended: bool = False
    queue: tuple[Item, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether there is something to prepare."""
        return self.work in ("wrote", "stranger")


Came: TypeAlias = tuple[int, int, int]
"""What came of a step: the new local state, whom it answers (or `NOBODY`), the event's number."""


class Databases:
    """All local states that databases can have; every method is a table that fills itself."""

    def __init__(self, events: Interner[Event]) -> None:
        self.events = events
        self.commands: Interner[Command] = Interner()
        self.facts: list[int] = []  # per local state, a number for all that counts of it
        self._kinds: Interner[Hashable] = Interner()
        self._locals: Interner[Database] = Interner()
        self._tables: dict[Hashable, int] = {}
        self._sent: dict[tuple[int, Item], int] = {}
        self._came: dict[Hashable, Came] = {}

    def __getitem__(self, local: int) -> Database:
        return self._locals[local]

    def first(self, work: str, *, prepared: bool = False) -> int:
        """A database before anything, or with its branch prepared."""
        return self._number(Database(work, gid=prepared, prepared=prepared))

    def command(self, command: Command) -> int:
        """The number of a command."""
        return self.commands.number(command, command)

    def send(self, local: int, item: Item) -> int:
        """A command sets out."""
        after = self._sent.get((local, item))
        if after is None:
            it = self._locals[local]
            after = self._number(replace(it, queue=(*it.queue, item)))
            self._sent[local, item] = after
        return after

    def orphan(self, local: int, sender: int, command: int | None = None) -> int:
        """Nobody waits any more for the answers to the commands of `sender` (or to one)."""
        key = local, sender, command
        if key not in self._tables:
            it = self._locals[local]
            queue = tuple(
                (NOBODY, number) if who == sender and command in (None, number) else (who, number)
                for who, number in it.queue
            )
            running = it.running
            if running is not None and running[1] == sender and command is None:
                running = running[0], NOBODY
            self._tables[key] = self._number(replace(it, queue=queue, running=running))
        return self._tables[key]

    def abandon(self, local: int, sender: int) -> int:
        """`sender` cuts its branch's connection: whatever that waits for ends in Unknown."""
        it = self._locals[local]
        queue = tuple(
            (NOBODY, number) if who == sender and self._is_branch(number) else (who, number)
            for who, number in it.queue
        )
        running = it.running
        if running is not None and running[1] == sender:
            running = running[0], NOBODY
        return self._number(replace(it, queue=queue, running=running))

    def arrive(self, name: str, local: int, item: Item) -> Came:
        """A command arrives and does its (first) step."""
        key = name, local, item
        if key not in self._came:
            it = self._locals[local]
            it = replace(it, queue=tuple(each for each in it.queue if each != item))
            it, event = self._execute(name, it, item)
            self._came[key] = self._result(it, item[0], event)
        return self._came[key]

    def finish(self, name: str, local: int) -> Came:
        """The running backend prepares, or commits in one phase."""
        key = name, local, "finish"
        if key not in self._came:
            it = self._locals[local]
            kind, sender = it.running or ("", NOBODY)
            if kind == "branch":
                it = replace(it, running=None, gid=True, prepared=True)
                self._came[key] = self._result(it, sender, BranchAnswered(name, Prepared()))
            else:
                it = replace(it, running=None, row="only")
                self._came[key] = self._result(it, sender, BranchAnswered(name, OnlyCommitted()))
        return self._came[key]

    def break_off(self, name: str, local: int) -> Came:
        """The running backend ends without a trace."""
        key = name, local, "break off"
        if key not in self._came:
            it = self._locals[local]
            sender = it.running[1] if it.running else NOBODY
            broken = BranchAnswered(name, Unknown("the backend ended"))
            self._came[key] = self._result(replace(it, running=None), sender, broken)
        return self._came[key]

    # --- statements -----------------------------------------------------------------------------

    def _execute(self, name: str, it: Database, item: Item) -> tuple[Database, Event | None]:
        match self.commands[item[1]]:
            case Prepare():
                return self._begin(name, it, "branch", item[0])
            case CommitOnly():
                return self._begin(name, it, "only", item[0])
            case CommitReader():
                if it.work == "conflict":
                    return it, BranchAnswered(name, No("40001", retryable=True))
                return replace(it, ended=True), BranchAnswered(name, OnlyCommitted())
            case Apply(verdict=verdict):
                it, answer = _apply(it, verdict)
                if isinstance(answer, Applied) and verdict is Verdict.ROLL_BACK_AND_FENCE:
                    fence = self.command(FenceOff(name))
                    return replace(it, queue=(*it.queue, (item[0], fence))), None
                return it, ApplyAnswered(name, answer)
            case FenceOff():
                it, answer = _fence_off(it)
                return it, ApplyAnswered(name, answer)
            case Fence():
                it, fenced = _fence(it)
                return it, FenceAnswered(name, fenced)
            case Terminate():
                it, fenced = _fence(replace(it, running=None))
                return it, FenceAnswered(name, fenced)

    def _begin(
        self, name: str, it: Database, kind: str, sender: int
    ) -> tuple[Database, Event | None]:
        """A backend tests whether it wrote anything, then inserts its row (R14, R15, R19)."""
        answer: BranchAnswer
        if it.work == "failed":
            answer = No("40001", retryable=True)
        elif not it.writes:
            serializable = it.work != "read"
            answer = OnlyCommitted() if kind == "only" else WroteNothing(serializable)
        elif it.row is not None:
            answer = No("23505: fenced, or a second branch")
        elif it.gid or it.running:
            answer = No("55P03: a second branch")
        else:
            return replace(it, running=(kind, sender)), None
        return it, BranchAnswered(name, answer)

    # --- tables ---------------------------------------------------------------------------------

    def _is_branch(self, number: int) -> bool:
        return isinstance(self.commands[number], Prepare | CommitOnly | CommitReader)

    def _result(self, it: Database, sender: int, event: Event | None) -> Came:
        if sender == NOBODY or event is None:
            return self._number(it), NOBODY, 0
        return self._number(it), sender, self.events.number(freeze(event), event)

    def _number(self, it: Database) -> int:
        # With a row in place nothing can change any more: what nobody waits for is dropped.
        over = it.row is not None or not it.writes
        queue = {item for item in it.queue if not (over and item[0] == NOBODY)}
        it = replace(it, queue=tuple(sorted(queue)))
        number = self._locals.number(it, it)
        if number == len(self.facts):
            counts = it.gid, it.row, it.prepared, it.rolled_back, it.ended
            self.facts.append(self._kinds.number(counts, counts))
        return number


def _apply(it: Database, verdict: Verdict) -> tuple[Database, FinishAnswer]:
    match verdict:
        case Verdict.COMMIT:
            if it.gid:
                return replace(it, gid=False, row="branch"), Applied()
            if it.row == "branch":
                return it, Applied()
            return it, Damage("lost-branch", f"the row is {it.row}")
        case Verdict.ROLL_BACK | Verdict.ROLL_BACK_AND_FENCE:
            if it.gid:
                return replace(it, gid=False, rolled_back=True), Applied()
            if it.row in ("branch", "only"):
                return it, Damage("committed-despite-abort", f"the row is {it.row}")
            return it, Applied()
        case _:
            return it, Applied()  # an open transaction, which is gone with its connection


def _fence_off(it: Database) -> tuple[Database, FinishAnswer]:
    if it.gid or it.running:
        return it, Busy("55P03")
    if it.row in ("branch", "only"):
        return it, Damage("committed-despite-abort", f"the row is {it.row}")
    return replace(it, row="fence"), Applied()


def _fence(it: Database) -> tuple[Database, FenceAnswer]:
    if it.gid or it.running:
        return it, FenceBlocked(prepared=it.gid, pid=0 if it.gid else 42)
    it = replace(it, row=it.row or "fence")
    return it, FenceStands(it.row or "")
