"""A participant's database as one transaction sees it: its branch row, its gid, its backend."""

from __future__ import annotations

from dataclasses import dataclass

from paxcommit.protocol.effects import FenceAnswer, FenceBlocked, FenceStands, Verdict
from paxcommit.protocol.finishing import Applied, Busy, Damage, FinishAnswer
from paxcommit.protocol.resource_manager import (
    BranchAnswer,
    No,
    OnlyCommitted,
    Prepared,
    Unknown,
    WroteNothing,
)

__all__ = ["Database"]


@dataclass
class Database:
    """A participant's database, as far as this one transaction can tell.

    Attributes:
        work: What the block did here: ``wrote``, ``read``, ``read-serializable`` or ``failed``.
        running: The kind of branch row that a running backend has inserted and not committed.
        row: The kind of the committed branch row.
    """

    work: str
    running: str | None = None
    gid: bool = False
    row: str | None = None
    ever_prepared: bool = False
    ever_rolled_back: bool = False

    def insert(self, kind: str) -> BranchAnswer | None:
        """A backend begins: None means that it goes on to `finish`."""
        if self.work == "failed":
            return No("40001", retryable=True)
        if self.work != "wrote":
            only = kind == "only"
            return OnlyCommitted() if only else WroteNothing(self.work == "read-serializable")
        if self.row is not None:
            return No("23505: fenced")
        self.running = kind
        return None

    def finish(self) -> BranchAnswer:
        """The backend prepares, or commits in one phase, unless it was terminated."""
        kind, self.running = self.running, None
        match kind:
            case "branch":
                self.gid = self.ever_prepared = True
                return Prepared()
            case "only":
                self.row = kind
                return OnlyCommitted()
            case _:
                return Unknown("terminated")

    def apply(self, verdict: Verdict) -> FinishAnswer:
        """What the statements of R19 and R20 do."""
        match verdict:
            case Verdict.COMMIT:
                if self.gid:
                    self.gid, self.row = False, "branch"
                if self.row != "branch":
                    return Damage("lost-branch", f"the row is {self.row}")
            case Verdict.ROLL_BACK | Verdict.ROLL_BACK_AND_FENCE:
                self.ever_rolled_back |= self.gid
                self.gid = False
                if self.running and verdict is Verdict.ROLL_BACK_AND_FENCE:
                    return Busy("55P03")
                if self.row in ("branch", "only"):
                    return Damage("committed-despite-abort", f"the row is {self.row}")
                if verdict is Verdict.ROLL_BACK_AND_FENCE:
                    self.row = "fence"
            case _:
                pass  # an open transaction, which this model does not hold
        return Applied()

    def fence(self) -> FenceAnswer:
        """R23: look for a gid, else insert a fence; roll nothing back."""
        if self.gid or self.running:
            return FenceBlocked(prepared=self.gid, pid=0 if self.gid else 42)
        self.row = self.row or "fence"
        return FenceStands(self.row)
