"""A coordinator process: begins transactions, works in them, commits with the product's code."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from paxcommit.errors import NotEnoughAcceptors, OutcomeUnknown, TransactionAborted
from paxcommit.ids import Incarnation
from paxcommit.ports import BeginOptions
from paxcommit.protocol.effects import Tell
from paxcommit.protocol.values import Outcome
from paxcommit.runtime.committing import operate
from paxcommit.runtime.plan import Ask, Call, Step, standing
from paxcommit.sql.branch import open_branch
from paxcommit.sql.statement import Unanswered
from paxcommit.sql.stuck import terminate_preparer
from paxcommit.transactions import TransactionState
from tests.proof.simulation.driving import Driving, run_plan
from tests.proof.simulation.network import Connection, Done, at_once, run_statements
from tests.proof.simulation.postgres import Tx
from tests.proof.simulation.process import DEADLINE, Process
from tests.proof.simulation.watches import CommitWatch

if TYPE_CHECKING:
    from tests.proof.simulation.world import World

__all__ = ["Coordinator", "Job"]


class Coordinator(Process):
    """One incarnation of a coordinator.

    Args:
        world, name: See `Process`.
    """

    def __init__(self, world: World, name: str) -> None:
        self.incarnation = Incarnation(1)
        self.incarnation.coordinator = world.pool.bits(63)
        self.jobs: list[Job] = []
        self.others: list[Connection] = []
        super().__init__(world, name, self.incarnation.coordinator)

    def begin(self, work: dict[str, str]) -> None:
        """Begin a transaction; `work` says what its block does at each participant."""
        try:
            self.members.require_quorum()
        except NotEnoughAcceptors:
            self.world.marks.add("commit: not started below a quorum")
            return
        self.jobs.append(Job(self, work))

    def connections(self) -> list[Any]:
        return [
            *super().connections(),
            *self.others,
            *(branch.session for job in self.jobs for branch in job.state.branches.values()),
        ]


class Job:
    """One transaction.

    Args:
        process: Its coordinator.
        work: Per participant, what the block does.
    """

    def __init__(self, process: Coordinator, work: dict[str, str]) -> None:
        self.process = process
        self.world = world = process.world
        self.state: TransactionState[Connection] = TransactionState.new(
            process.incarnation, process.members, DEADLINE, BeginOptions()
        )
        self.state.begin()
        self.txid = self.state.txid
        self.facts = world.truth.of(self.txid)
        self.early = world.pool.chance(0.3)  # wait="decided"
        self.raises = False
        self.left = False
        world.started.append(self)
        process.say(f"begins {self.txid}: {work}")
        self._join(list(work.items()))

    # --- the block ------------------------------------------------------------------------------

    def _join(self, rest: list[tuple[str, str]]) -> None:
        if not rest:
            self.world.pool.soon.append(partial(self.process.post, self.leave))
            return
        (name, what), *rest = rest
        self.state.join(name)
        run_plan(
            self.process.members.register(name),
            self.process.perform,
            lambda answer: self._registered(name, what, rest, answer),
        )

    def _registered(self, name: str, what: str, rest: list[tuple[str, str]], answer: Any) -> None:
        server = self.world.participants[name]
        if isinstance(answer, Exception) or not self.world.reaches(self.process, server):
            self.raises = True  # ParticipantUnavailable ends the block
            self._join([])
            return
        session = Connection(self.process, server)
        isolation = "serializable" if "serializable" in what else "read committed"
        tx = session.backend.tx = Tx(isolation, read_only="declared" in what)
        at_once(session, open_branch(self.txid))
        self._work(name, what, session, tx)
        role = self.process.members.owner(name)
        self.state.joined(name, session, role=role, read_only=tx.read_only, ours=True)
        self._join(rest)

    def _work(self, name: str, what: str, session: Connection, tx: Tx) -> None:
        facts = self.facts
        backend = session.backend
        if "hidden" in what:
            tx.min_messages = "error"
        if "reads" in what:
            if "serializable" in what:
                facts.readers.add(name)
            if "fails" in what:
                tx.trap = "serialization"
            return
        tx.wrote = True
        facts.writers.add(name)
        match what.partition(":")[2]:
            case "failed":
                tx.failed = True
                facts.bad.add(name)
            case "swallowed":
                tx.failed = True
                backend.swallows = True
                facts.bad.add(name)
            case "rolled back":
                backend.tx = None
                facts.bad.add(name)
            case "begun again":
                backend.tx = Tx(tx.isolation, wrote=True)
                facts.bad.add(name)
            case "":
                pass
            case trap:
                tx.trap = trap
                if trap in ("serialization", "deferred fails"):
                    facts.bad.add(name)

    def leave(self) -> None:
        """Leave the block: from here on it is the product's."""
        if self.left:
            return
        self.left = True
        self.raises = self.raises or self.world.pool.chance(self.world.weather.raises)
        machine = self.state.end(RuntimeError("the block") if self.raises else None)
        enlisted = {name: branch.enlisted for name, branch in self.state.branches.items()}
        watch = CommitWatch(self.world, self, machine)
        for name, branch in self.state.branches.items():  # a reader that writes after all
            if branch.session.backend.tx is not None and self.world.pool.chance(0.02):
                watch.late_writer = name
        self.machine = machine
        Driving(
            self.process,
            f"{self.process.name}/{self.txid.seq}",
            machine,
            lambda effect: operate(effect, enlisted),
            self._perform,
            abandon=self._abandon,
            tell=self._tell,
            watch=watch,
            over=self._over,
        ).start()

    def _perform(self, step: Step, done: Done) -> None:
        if isinstance(step, Ask) or step.where.kind != "branch":
            self.process.perform(step, done)
            return
        session = self.state.branches[step.where.name].session
        if session.broken:
            done(Unanswered("the branch's connection was lost"))
        else:
            run_statements(session, step.statements, done)

    def _abandon(self, participant: str) -> None:
        branch = self.state.branches[participant]
        call = Call(standing(participant), terminate_preparer(branch.enlisted.gid))
        branch.session.discard()
        self.process.perform(call, lambda _: None)

    def _tell(self, tell: Tell) -> None:
        self.state.tell(tell)
        if self.early:
            self._owner_is_told()

    def _over(self) -> None:
        self.state.ended(self.machine)
        for name, damage in self.machine.damage.items():
            self.world.truth.report(self.txid, name, damage)
        applied = [name for name in self.state.branches if name not in self.state.unapplied]
        self.world.truth.applied(self.txid, self.state.outcome, applied, fenced=False)
        if self.facts.mine is None:
            self._owner_is_told()
        for branch in self.state.branches.values():
            if not branch.session.broken:  # settled: rolled back, and back to the pool
                branch.session.broken = True
                branch.session.backend.end()

    def _owner_is_told(self) -> None:
        try:
            self.state.raise_unless_committed()
        except TransactionAborted:
            outcome = Outcome.ABORTED
        except OutcomeUnknown:
            outcome = Outcome.OPEN
        else:
            outcome = Outcome.COMMITTED
        self.process.say(f"tells the owner of {self.txid}: {outcome}")
        self.world.truth.tell(self.txid, outcome, owner=True)
