"""What a coordinator's effects mean in SQL, and on which connection: plans, for both runners."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import assert_never

from paxcommit.errors import InvariantViolation
from paxcommit.ids import Gid
from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Event,
    Operation,
    Prepare,
    Send,
    Verdict,
)
from paxcommit.protocol.finishing import Applied, Damage, FinishAnswer, NotApplied
from paxcommit.protocol.messages import AcceptorName, Request
from paxcommit.protocol.resource_manager import (
    BranchAnswer,
    OnlyCommitted,
    Unknown,
    WroteNothing,
    judge_error,
)
from paxcommit.runtime.damages import write_down
from paxcommit.runtime.plan import Ask, Call, Plan, branch, standing
from paxcommit.sql import branch as branch_sql
from paxcommit.sql import finish as finish_sql
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Enlisted", "operate"]

_log = logging.getLogger("paxcommit.commit")


@dataclass(frozen=True, slots=True)
class Enlisted:
    """One enlisted participant, as the SQL side needs to know it.

    Attributes:
        gid: The name its branch will have once prepared.
        role: The role that is to own it (R18), or None for the session's own.
        read_only: Declared read-only: only tested, never prepared (R15).
    """

    gid: Gid
    role: str | None
    read_only: bool


def operate(effect: Operation, enlisted: dict[str, Enlisted]) -> Plan[Event]:
    """The plan that carries out one effect of a `CommitMachine`."""
    match effect:
        case Prepare(participant=name):
            it = enlisted[name]
            return _ask_branch(
                name,
                branch_sql.prepare_branch(it.gid, it.role, declared_read_only=it.read_only),
            )
        case Apply(participant=name, verdict=verdict):
            return _apply(name, enlisted[name].gid, verdict)
        case CommitOnly(participant=name):
            it = enlisted[name]
            return _ask_branch(name, branch_sql.commit_only(it.gid, it.role))
        case CommitReader(participant=name):
            return _ask_branch(name, _commit_reader(enlisted[name]))
        case Send(acceptor=acceptor, request=request):
            return _ask(acceptor, request)
        case _:
            raise InvariantViolation(f"a coordinator has no use for {effect}")


def _ask(acceptor: AcceptorName, request: Request) -> Plan[Event]:
    (event,) = yield [Ask(acceptor, request)]
    answered: Event = event
    return answered


def _commit_reader(it: Enlisted) -> Statements[BranchAnswer]:
    answer = yield from branch_sql.commit_reader(it.gid.txid)
    return OnlyCommitted() if isinstance(answer, WroteNothing) else answer


def _ask_branch(name: str, statements: Statements[BranchAnswer]) -> Plan[Event]:
    (answer,) = yield [Call(branch(name), statements)]
    if isinstance(answer, DatabaseError):
        answer = judge_error(answer.sqlstate, answer.message)
    elif isinstance(answer, Exception):
        answer = Unknown(str(answer))
    return BranchAnswered(name, answer)


def _apply(name: str, gid: Gid, verdict: Verdict) -> Plan[Event]:
    # A transaction that wrote nothing, or was never prepared, is gone with its connection.
    answer: FinishAnswer = Applied()
    match verdict:
        case Verdict.COMMIT:
            answer = yield from _finish(name, gid, commit=True)
        case Verdict.ROLL_BACK | Verdict.ROLL_BACK_AND_FENCE:
            answer = yield from _finish(name, gid, commit=False)
        case Verdict.ROLL_BACK_OPEN:
            yield [Call(branch(name), branch_sql.rollback())]
        case Verdict.COMMIT_READER:
            (no,) = yield [Call(branch(name), branch_sql.end_reader(gid.txid, commit=True))]
            if no is not None:
                _log.warning("%s: the reader %s was not committed: %s", gid.txid, name, no)
        case Verdict.ROLL_BACK_READER:
            yield [Call(branch(name), branch_sql.end_reader(gid.txid, commit=False))]
        case _:
            assert_never(verdict)
    if isinstance(answer, Damage):
        answer = yield from write_down(gid.txid, name, answer)
    return ApplyAnswered(name, answer)


def _finish(name: str, gid: Gid, *, commit: bool) -> Plan[FinishAnswer]:
    """Finish a gid on the branch's own session, or, if that is lost, on the standing one (R27)."""
    finish = finish_sql.commit_prepared if commit else finish_sql.rollback_prepared
    answer: FinishAnswer | Exception = NotApplied("not tried")
    for session in (branch, standing):
        (answer,) = yield [Call(session(name), finish(gid))]
        if not isinstance(answer, Unanswered | NotApplied):
            break
    return NotApplied(str(answer)) if isinstance(answer, Exception) else answer
