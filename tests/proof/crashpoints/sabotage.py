"""Cures that can be taken out of this process, to see that their absence is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from paxcommit.ids import Gid
from paxcommit.protocol import coordinator as coordinator_protocol
from paxcommit.protocol import recovery as recovery_protocol
from paxcommit.protocol.effects import Effect, Event, Verdict
from paxcommit.protocol.finishing import Damage, FinishAnswer
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import NoAnswer
from paxcommit.protocol.resource_manager import BranchAnswer, No, Unknown
from paxcommit.protocol.values import Outcome
from paxcommit.sql import branch as branch_sql
from paxcommit.sql import finish as finish_sql
from paxcommit.sql.statement import DatabaseError, Statements

__all__ = ["CURES", "take_out"]


def take_out(cure: str) -> None:
    """Take one out, for the rest of this process's life and in every fork of it."""
    CURES[cure]()


def _replace(where: object, name: str, by: object) -> None:
    getattr(where, name)  # or nothing would be taken out
    setattr(where, name, by)


def _ballot() -> None:
    """R25: a recoverer that finds no decision presumes that there will be none."""

    class Presumptuous(Learner):
        presumed = False

        @property
        def outcome(self) -> Outcome:
            return Outcome.ABORTED if self.presumed else super().outcome

    def lead(machine: Any) -> list[Effect]:
        machine._learner.presumed = True
        found: list[Effect] = machine._apply_if_decided()
        return found

    _replace(recovery_protocol, "Learner", Presumptuous)
    _replace(recovery_protocol.RecoveryMachine, "_lead", lead)


def _quorum() -> None:
    """R21: the first acceptor's vote is enough to tell the client."""

    class Hasty(Learner):
        def add_votes(self, *args: Any) -> None:
            super().add_votes(*args)
            super().add_votes("nobody", *args[1:])

    _replace(coordinator_protocol, "Learner", Hasty)


def _refusal() -> None:
    """R21, trap 28: an acceptor that does not answer is a reason to roll back."""
    ask = coordinator_protocol.CommitMachine._acceptor

    def impatient(machine: Any, event: Event) -> list[Effect]:
        if not isinstance(event, NoAnswer):
            return ask(machine, event)
        verdicts = dict.fromkeys(machine._rms, Verdict.ROLL_BACK)
        decided: list[Effect] = machine._decided(Outcome.ABORTED, verdicts, event.reason)
        return decided

    _replace(coordinator_protocol.CommitMachine, "_acceptor", impatient)


def _ledger() -> None:
    """R19, trap 7: 42704 is read as a loss, whatever the branch row says."""
    commit = finish_sql.commit_prepared

    def unread(gid: Gid) -> Statements[FinishAnswer]:
        inner = commit(gid)
        try:
            result = yield next(inner)
        except DatabaseError as error:
            if error.sqlstate == "42704":
                return Damage(finish_sql.LOST, "it is not prepared")
            raise
        try:
            inner.send(result)
        except StopIteration as stop:
            answer: FinishAnswer = stop.value
            return answer
        raise AssertionError

    _replace(finish_sql, "commit_prepared", unread)


def _silence() -> None:
    """R22: a one-phase COMMIT without an answer counts as refused."""
    commit = branch_sql.commit_only

    def certain(gid: Gid, role: str | None = None) -> Statements[BranchAnswer]:
        answer = yield from commit(gid, role)
        return No(answer.reason) if isinstance(answer, Unknown) else answer

    _replace(branch_sql, "commit_only", certain)


CURES: dict[str, Callable[[], None]] = {
    "ballot": _ballot,
    "quorum": _quorum,
    "refusal": _refusal,
    "ledger": _ledger,
    "silence": _silence,
}
