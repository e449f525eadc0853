"""One transaction in a hostile world: machines, acceptors, databases and a network, all seeded.

`World(seed).run()` commits (or forces, or recovers) one transaction while requests are lost,
delayed, doubled and overtaken, answers go missing, timers fire at any time and processes die
between any two effects.  After *every* step it looks at everything at once, which no process can,
and raises `Broken` if money is lost.  Then it heals, and demands that everything is resolved.

What is chosen is counted here a second time, from what acceptors really persisted, so that a
mistake in the product's own `Learner` cannot hide itself.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol import acceptor
from paxcommit.protocol.coordinator import CommitMachine, Terms
from paxcommit.protocol.effects import (
    Abandon,
    Apply,
    ApplyAnswered,
    Backoff,
    BackoffOver,
    BranchAnswered,
    CommitOnly,
    CommitReader,
    Effect,
    Event,
    Fence,
    FenceAnswered,
    FenceUnreachable,
    Prepare,
    Send,
    SetTimer,
    Tell,
    Terminate,
    TimerFired,
)
from paxcommit.protocol.finishing import NotApplied
from paxcommit.protocol.messages import AcceptorAnswer, NoAnswer, Phase2b, Request
from paxcommit.protocol.recovery import Mandate, RecoveryMachine
from paxcommit.protocol.resource_manager import (
    BranchAnswer,
    OnlyCommitted,
    Unknown,
)
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote
from tests.protocol.database import Database

__all__ = ["TXID", "Broken", "World"]

TXID = TxId(1, 0xC0FFEE, 1)
CROWD = 5


class Broken(Exception):
    """Money is lost, somebody was lied to, or something never ends."""


@dataclass
class World:
    """Everything there is, for one transaction.

    Args:
        seed: Decides everything that happens.
    """

    seed: int
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(self.seed)
        count = rng.choice([1, 3, 3, 3, 5])
        self.rows = {f"a{n}": acceptor.UNKNOWN for n in range(1, count + 1)}
        works = ["wrote"] * 6 + ["read", "read-serializable", "failed"]
        size = rng.choice([1, 2, 2, 3, 4])
        self.databases = {f"p{n}": Database(rng.choice(works)) for n in range(1, size + 1)}
        self.wrote = any(db.work == "wrote" for db in self.databases.values())
        # Swarm: each seed has its own weather.  One without losses finds what storms hide.
        self.loss, self.doubled = rng.choice([0.0, 0.1, 0.3, 0.5]), rng.choice([0.0, 0.2])
        self.haste, self.death = rng.choice([0.0, 0.02, 0.1]), rng.choice([0.0, 0.01, 0.05])
        self.births = rng.choice([0.0, 0.02, 0.1, 0.3])
        self.soup: list[Callable[[], None]] = []
        self.timers: list[Callable[[], None]] = []
        self.latest: list[Callable[[], None]] = []
        self.machines: dict[str, CommitMachine | RecoveryMachine] = {}
        self.branch_calls: dict[str, Callable[[BranchAnswer], None]] = {}
        self.votes: defaultdict[tuple[Instance, Ballot, Value], set[str]] = defaultdict(set)
        self.told: set[Outcome] = set()
        self.log: list[str] = []

    # --- the run --------------------------------------------------------------------------------

    def run(self, steps: int = 400) -> World:
        """Storm, heal, and demand that all is resolved.

        Raises:
            Broken: See the module.
        """
        terms = Terms(tuple(self.rows), deadline=1.0, finish=1.0)
        self.start("coordinator", CommitMachine(TXID, list(self.databases), terms))
        for _ in range(steps):
            if self.rng.random() < self.births and len(self.machines) < CROWD:
                self.recover(self.rng.choice(list(Mandate)))
            if not self.step(self.haste):
                break
        self.heal()
        return self

    def heal(self) -> None:
        """No more losses: recovery must finish everything, and everybody must agree."""
        self.loss = self.doubled = self.death = 0.0
        self.settle()
        for _ in range(3):
            if self.prepared():
                self.recover(Mandate.LEAD)
                self.settle()
        self.require(not self.prepared(), "a gid is left after healing")
        self.recover(Mandate.FORCE)
        self.settle()
        self.require(self.machines.keys() == set(), f"never ended: {set(self.machines)}")
        outcome = self.last.resolution.outcome
        self.require(outcome is not Outcome.OPEN, f"open: {self.last.resolution.reason}")
        self.require(not self.last.resolution.damage, "damage without a cause")
        for name in self.chosen_names() if self.truth() is Outcome.COMMITTED else ():
            self.require(self.databases[name].row == "branch", f"{name} is not committed")

    def settle(self) -> None:
        """Run until nothing is under way; time passes only when nothing else happens."""
        for _ in range(5_000):
            if not self.step(0.0):
                return
        raise Broken(f"seed {self.seed}: it never ends")

    def recover(self, mandate: Mandate) -> None:
        """Start a recoverer, if its mandate can come about: only a gid gives leave to lead."""
        seen = self.prepared()
        if mandate is not Mandate.FORCE and not seen:
            return
        self.last = RecoveryMachine(
            TXID,
            tuple(self.rows),
            served=self.databases,
            seen=seen,
            mandate=mandate,
            patience=1.0,
            registered=tuple(self.databases),
        )
        self.start(f"{mandate.name.lower()}-{len(self.log)}", self.last)

    def step(self, haste: float) -> bool:
        """Let one thing happen, then look at everything; False if nothing can."""
        queues = [self.soup, self.timers, self.latest]
        if self.rng.random() < haste:
            self.rng.shuffle(queues)
        queue = next((queue for queue in queues if queue), None)
        if queue is None:
            return False
        queue.pop(self.rng.randrange(len(queue)))()
        self.look()
        return True

    # --- processes ------------------------------------------------------------------------------

    def start(self, who: str, machine: CommitMachine | RecoveryMachine) -> None:
        self.machines[who] = machine
        self.perform(who, machine.start())

    def feed(self, who: str, event: Event) -> None:
        if machine := self.machines.get(who):
            self.log.append(f"{who} <- {event}")
            self.perform(who, machine.handle(event))

    def perform(self, who: str, effects: list[Effect]) -> None:
        for effect in effects:
            if self.rng.random() < self.death:
                self.seen["deaths"] += 1
                del self.machines[who]  # whatever it has sent goes on without it
                return
            self.log.append(f"{who} -> {effect}")
            self.act(who, effect)
        if self.machines[who].done:
            damage = self.machines[who].damage
            self.require(not damage, f"{who} reports damage without a cause: {damage}")
            del self.machines[who]

    def act(self, who: str, effect: Effect) -> None:
        match effect:
            case Send(acceptor=name, request=request):
                self.call(
                    who,
                    lambda: self.accept(name, request),
                    NoAnswer(TXID, name, "lost"),
                    copies=2 if self.rng.random() < self.doubled else 1,
                )
            case Prepare(participant=name) | CommitOnly(participant=name):
                self.branch(who, name, "only" if isinstance(effect, CommitOnly) else "branch")
            case CommitReader(participant=name):
                answer = BranchAnswered(name, OnlyCommitted())
                self.call(who, lambda: answer, BranchAnswered(name, Unknown("lost")))
            case Abandon(participant=name):
                if cut := self.branch_calls.pop(name, None):
                    self.soup.append(lambda: cut(Unknown("abandoned")))
            case Apply(participant=name, verdict=verdict):
                apply = self.databases[name].apply
                lost = ApplyAnswered(name, NotApplied("lost"))
                self.call(who, lambda: ApplyAnswered(name, apply(verdict)), lost)
            case Fence(participant=name) | Terminate(participant=name):
                database = self.databases[name]
                if isinstance(effect, Terminate):
                    database.running = None
                gone = FenceAnswered(name, FenceUnreachable("lost"))
                self.call(who, lambda: FenceAnswered(name, database.fence()), gone)
            case SetTimer(name=name):
                self.latest.append(lambda: self.feed(who, TimerFired(name)))
            case Backoff(name=name):
                self.timers.append(lambda: self.feed(who, BackoffOver(name)))
            case Tell(outcome=outcome):
                self.seen[f"{who.partition('-')[0]} told {outcome}"] += 1
                if self.wrote:  # a transaction that wrote nothing leaves no trace (R17)
                    self.told.add(outcome)

    # --- the network ----------------------------------------------------------------------------

    def call(self, who: str, do: Callable[[], Event], lost: Event, *, copies: int = 1) -> None:
        """Call something far away: lost on the way there, on the way back, or merely very late."""

        def arrive() -> None:
            answer = do()
            self.soup.append(lambda: self.feed(who, answer))

        fate = "fine"
        if self.rng.random() < self.loss:
            fate = self.rng.choice(["lost", "silent"])
            self.soup.append(lambda: self.feed(who, lost))
        if fate == "fine":
            self.soup.append(arrive)
        # What nobody waits for any more may still arrive, as late as anything can (trap 30).
        ghosts = copies - (fate != "silent")
        self.latest += [lambda: (do(), None)[1]] * ghosts

    def accept(self, name: str, request: Request) -> AcceptorAnswer:
        match acceptor.step(name, acceptor.EpochState(), self.rows[name], request):
            case acceptor.Persist(row=row, reply=reply):
                self.rows[name] = row
                if isinstance(reply, Phase2b):
                    for instance, value in reply.values.items():
                        self.votes[instance, reply.ballot, value].add(name)
                        self.seen["ballots"] = max(self.seen["ballots"], reply.ballot)
                return reply
            case acceptor.Refuse(reply=refusal):
                return refusal

    def branch(self, who: str, name: str, kind: str) -> None:
        """A PREPARE or a one-phase COMMIT: two steps, either of which may come very late."""
        database = self.databases[name]
        answered: list[BranchAnswer] = []

        def answer(what: BranchAnswer) -> None:
            if not answered:
                answered.append(what)
                self.feed(who, BranchAnswered(name, what))

        def finish() -> None:
            what = database.finish()
            self.soup.append(lambda: answer(what))

        def begin() -> None:
            what = database.insert(kind)
            self.soup.append(finish if what is None else lambda: answer(what))

        self.branch_calls[name] = answer
        if self.rng.random() < self.loss:
            self.soup.append(lambda: answer(Unknown("lost")))
            if self.rng.random() < 0.3:
                return
        self.soup.append(begin)

    # --- what nobody inside can see -------------------------------------------------------------

    def prepared(self) -> set[str]:
        return {name for name, database in self.databases.items() if database.gid}

    def chosen(self) -> dict[Instance, Value]:
        chosen: dict[Instance, Value] = {}
        for (instance, _, value), voters in self.votes.items():
            if len(voters) * 2 > len(self.rows):
                self.require(chosen.setdefault(instance, value) == value, f"two in {instance}")
        return chosen

    def chosen_names(self) -> tuple[str, ...]:
        registrar = self.chosen().get(REGISTRAR)
        return registrar.names if isinstance(registrar, ParticipantSet) else ()

    def truth(self) -> Outcome:
        chosen = self.chosen()
        votes = {chosen.get(name) for name in self.chosen_names()}
        if chosen.get(REGISTRAR) is Vote.ABORTED or Vote.ABORTED in votes:
            return Outcome.ABORTED
        return Outcome.COMMITTED if votes == {Vote.PREPARED} else Outcome.OPEN

    def look(self) -> None:
        """The invariants, over everything at once."""
        truth, names = self.truth(), self.chosen_names()
        rows = {name: database.row for name, database in self.databases.items()}
        if truth is Outcome.COMMITTED:
            for name in names:
                database = self.databases[name]
                self.require(database.ever_prepared, f"{name} of J was never prepared")
                self.require(not database.ever_rolled_back, f"{name} of J was rolled back")
                self.require(database.row in (None, "branch"), f"{name} of J is {database.row}")
        for name, row in rows.items():
            if row == "branch":
                self.require(truth is Outcome.COMMITTED, f"{name} committed, but it is {truth}")
                self.require(name in names, f"{name} committed outside J")
            if row == "only":
                self.require(truth is Outcome.OPEN, f"{name} committed alone, but it is {truth}")
        committed = truth is Outcome.COMMITTED or "only" in rows.values()
        self.require(Outcome.COMMITTED not in self.told or committed, "told committed, is not")
        self.require(Outcome.ABORTED not in self.told or not committed, "told aborted, is not")
        self.require({Outcome.COMMITTED, Outcome.ABORTED} - self.told != set(), "told both")

    def require(self, condition: bool, broken: str) -> None:
        if not condition:
            raise Broken(f"seed {self.seed}: {broken}\n" + "\n".join(self.log))
