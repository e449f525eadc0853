"""Onlookers that tick off the coverage marks which machines reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paxcommit.protocol.coordinator import CommitMachine
from paxcommit.protocol.effects import (
    Apply,
    ApplyAnswered,
    BackoffOver,
    BranchAnswered,
    CommitReader,
    Fence,
    FenceAnswered,
    FenceBlocked,
    FenceStands,
    FenceUnreachable,
    Prepare,
    Send,
    Tell,
    TimerFired,
    Verdict,
)
from paxcommit.protocol.finishing import Applied, Busy
from paxcommit.protocol.messages import NoAnswer, Outbid, Phase1a, Phase2a
from paxcommit.protocol.recovery import _TOO_FEW, _TOO_LATE, _UNLEARNT, RecoveryMachine
from paxcommit.protocol.resource_manager import No, OnlyCommitted, WroteNothing
from paxcommit.protocol.values import REGISTRAR, Outcome, ParticipantSet, Vote
from paxcommit.reports import Resolved

if TYPE_CHECKING:
    from tests.proof.simulation.coordinator import Job
    from tests.proof.simulation.recoverer import Recoverer
    from tests.proof.simulation.world import World

__all__ = ["CommitWatch", "RecoveryWatch"]


class CommitWatch:
    """Watches a `CommitMachine`."""

    def __init__(self, world: World, job: Job, machine: CommitMachine) -> None:
        self.hit = world.marks.add
        self.job = job
        self.machine = machine
        self.sent = False
        self.deadline = False
        self.committed = False
        self.late_writer = ""

    def __call__(self, what: Any) -> None:
        machine, hit = self.machine, self.hit
        match what:
            case Tell():
                self._told(what)
            case Send(request=Phase1a()):
                hit("commit: led a higher ballot")
            case Send():
                self.sent = True
            case Prepare() if len(self.job.state.branches) == 1:
                hit("commit: one phase refused to the unregistered")
            case CommitReader(participant=name):
                backend = self.job.state.branches[name].session.backend
                if name == self.late_writer and backend.tx is not None:
                    backend.tx.wrote = True
            case Apply(participant=name, verdict=verdict):
                broken = self.job.state.branches[name].session.broken
                if broken and verdict in (Verdict.COMMIT, Verdict.ROLL_BACK):
                    hit("finish: on the standing connection")
            case BranchAnswered(answer=OnlyCommitted()) if machine._one_phase:
                wrote = bool(self.job.facts.writers)
                hit("commit: one phase" if wrote else "commit: one phase, nothing written")
            case BranchAnswered(answer=OnlyCommitted()):
                if machine._state.name == "ABORTING":
                    hit("commit: reader committed after another had failed")
                hit("commit: serializable reader committed first")
            case BranchAnswered(answer=WroteNothing()):
                hit("commit: reader told apart")
            case BranchAnswered(answer=No(reason=reason)):
                if "PX010" in reason:
                    hit("commit: ended inside the block")
                elif "wrote after" in reason:
                    hit("commit: reader that wrote after all")
                elif machine._state.name == "READERS":
                    hit("commit: serializable reader failed")
            case TimerFired(name="hedge") if machine._rest and machine._state.name == "DECIDING":
                hit("commit: hedged")
            case NoAnswer() | Outbid() if machine._rest:
                hit("commit: refused by one of F+1, so the rest was asked")
            case TimerFired(name="deadline"):
                if machine._state.name == "DECIDING":
                    hit("commit: deadline while deciding")
                elif not machine._one_phase and not self.sent:
                    self.deadline = True
                    hit("commit: deadline before J was queued")
            case TimerFired(name="finish") if machine._state.name == "APPLYING":
                hit("commit: finish time over")
            case BackoffOver(name=name) if name.startswith("apply:"):
                hit("finish: retried after backoff")
                if machine._applying._attempts[name.removeprefix("apply:")] >= 5:
                    hit("finish: given up after six attempts")
            case _:
                pass

    def _told(self, tell: Tell) -> None:
        hit, attempts = self.hit, self.machine._leader.attempts
        match tell.outcome:
            case Outcome.COMMITTED if self.sent:
                led = attempts > 0
                if self.machine._rest:
                    hit("commit: decided by F+1 acceptors alone")
                hit(
                    "commit: committed after a higher ballot"
                    if led
                    else "commit: decided at ballot 0"
                )
            case Outcome.COMMITTED if len(self.job.state.branches) > 1:
                hit("commit: nothing written anywhere")
            case Outcome.ABORTED if self.job.raises:
                hit("commit: block raised")
            case Outcome.ABORTED if self.sent:
                hit("commit: another decided Aborted")
            case Outcome.ABORTED if not self.deadline and not self.machine._one_phase:
                hit("commit: aborted before J was queued")
            case Outcome.OPEN if self.machine._one_phase:
                hit("commit: one phase unanswered")
            case _:
                pass


class RecoveryWatch:
    """Watches a `RecoveryMachine`."""

    def __init__(
        self, world: World, process: Recoverer, machine: RecoveryMachine, kind: str
    ) -> None:
        self.hit = world.marks.add
        self.machine = machine
        self.kind = kind
        self.fenced = False
        self.unreachable = False
        self.verdicts: dict[str, Verdict] = {}
        self.outcome = Outcome.OPEN

    def __call__(self, what: Any) -> None:
        hit = self.hit
        match what:
            case Send(request=Phase1a()):
                if self.machine._leader.attempts >= 2:
                    hit("recover: outbid: backoff and higher ballot")
                elif self.kind == "FORCE" and not self.fenced:
                    hit("force: acceptors know it: ballot")
            case Send(request=Phase2a(values=values)):
                if not isinstance(values[REGISTRAR], ParticipantSet):
                    hit("recover: registrar free: aborted")
                elif Vote.ABORTED not in values.values():
                    hit("recover: registrar's J found, committed")
            case Fence():
                self.fenced = True
            case FenceAnswered(answer=FenceBlocked(prepared=True)):
                hit("force: meets a gid")
            case FenceAnswered(answer=FenceBlocked(pid=0)):
                hit("force: blocker gone when looked at")
            case FenceAnswered(answer=FenceStands(kind="branch")):
                hit("force: branch row: asked again")
            case FenceAnswered(answer=FenceUnreachable()):
                self.unreachable = True
            case Apply(participant=name, verdict=verdict):
                self.verdicts[name] = verdict
                if verdict is Verdict.ROLL_BACK and self.outcome is Outcome.COMMITTED:
                    hit("finish: branch outside J rolled back")
            case ApplyAnswered(participant=name, answer=answer):
                self._applied(name, answer)
            case BackoffOver(name=name) if name.startswith("apply:"):
                hit("finish: retried after backoff")
            case Tell(outcome=outcome, reason=reason):
                self.outcome = outcome
                self._told(outcome, reason)
            case _:
                pass

    def _applied(self, name: str, answer: Any) -> None:
        if self.verdicts[name] is not Verdict.ROLL_BACK_AND_FENCE:
            return
        if isinstance(answer, Applied):
            self.hit("fence: placed after rollback")
        elif isinstance(answer, Busy) and "in flight" in answer.reason:
            self.hit("fence: waits for a running backend")

    def _told(self, outcome: Outcome, reason: str) -> None:
        hit, machine = self.hit, self.machine
        if outcome is Outcome.OPEN:
            if reason.startswith(_UNLEARNT):
                hit("recover: learnt nothing: open")
            elif reason.endswith(_TOO_FEW):
                hit("recover: too few acceptors: open")
            elif reason == _TOO_LATE:
                hit("recover: patience over")
            elif self.unreachable:
                hit("force: participant unreachable: open")
        elif reason.endswith("committed it in one phase"):
            hit("force: only-row: committed")
        elif machine._leader.ballot == 0:
            hit("recover: decided by learning")

    def over(self, resolved: Resolved) -> None:
        """The machine is done."""
        if self.kind == "FORCE" and machine_fenced(self.machine):
            self.hit("force: every participant fenced: ballot")


def machine_fenced(machine: RecoveryMachine) -> bool:
    """Whether it went on because nobody can prepare any more."""
    return machine._fencing.reason == "every participant is fenced"
