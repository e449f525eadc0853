"""What nobody inside can see: everything at once; and what may never be (the invariants).

What is chosen is counted here a second time, from what acceptors flushed, so that a mistake in
the product's own learner cannot hide itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from paxcommit.ids import Ballot, TxId
from paxcommit.protocol.finishing import Damage
from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value, Vote

__all__ = ["Broken", "Facts", "Truth"]


class Broken(Exception):
    """Money is lost, somebody was lied to, or something never ends."""


@dataclass(slots=True)
class Facts:
    """All there is to know of one transaction.

    Attributes:
        writers: Participants at which its owner's block wrote.
        bad: Participants whose work was lost inside the block: it may not be committed.
        readers: Serializable readers, which must have committed before the first 2a.
        told: What anybody was told.
        mine: What its owner was told; None: nothing yet.
        ever: Rows that were durable once, whatever a failover did to them.
        injected: Participants that lost its branch in a failover.
    """

    txid: TxId
    writers: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    readers: set[str] = field(default_factory=set)
    readers_committed: set[str] = field(default_factory=set)
    votes: dict[tuple[Instance, Ballot, Value], set[str]] = field(default_factory=dict)
    chosen: dict[Instance, Value] = field(default_factory=dict)
    prepared: set[str] = field(default_factory=set)
    rolled_back: set[str] = field(default_factory=set)
    rows: dict[str, str] = field(default_factory=dict)
    ever: set[tuple[str, str]] = field(default_factory=set)
    injected: set[str] = field(default_factory=set)
    reported: dict[str, str] = field(default_factory=dict)
    told: set[Outcome] = field(default_factory=set)
    mine: Outcome | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen J."""
        registrar = self.chosen.get(REGISTRAR)
        return registrar.names if isinstance(registrar, ParticipantSet) else ()

    @property
    def decided(self) -> Outcome:
        """By the acceptors."""
        registrar = self.chosen.get(REGISTRAR)
        if registrar is Vote.ABORTED:
            return Outcome.ABORTED
        votes = {self.chosen.get(name) for name in self.names}
        if Vote.ABORTED in votes:
            return Outcome.ABORTED
        return Outcome.COMMITTED if votes == {Vote.PREPARED} else Outcome.OPEN

    @property
    def committed(self) -> bool:
        """Through the acceptors, or in one phase."""
        return self.decided is Outcome.COMMITTED or "only" in self.rows.values()


class Truth:
    """The facts of every transaction, checked whenever one changes.

    Args:
        acceptors: How many there are.
    """

    def __init__(self, acceptors: int) -> None:
        self.quorum = acceptors // 2 + 1
        self.facts: dict[TxId, Facts] = {}

    def of(self, txid: TxId) -> Facts:
        """The facts of a transaction."""
        facts = self.facts.get(txid)
        if facts is None:
            facts = self.facts[txid] = Facts(txid)
        return facts

    def broken(self, why: str) -> None:
        """Say that something is broken."""
        raise Broken(why)

    def require(self, facts: Facts, condition: bool, why: str) -> None:
        """An invariant."""
        if not condition:
            raise Broken(f"{facts.txid}: {why}")

    # --- acceptors ------------------------------------------------------------------------------

    def ballot_zero(self, txid: TxId) -> None:
        """J is about to be accepted somewhere: R15 wants serializable readers committed."""
        facts = self.of(txid)
        waiting = facts.readers - facts.readers_committed
        self.require(facts, not waiting, f"J is proposed before {sorted(waiting)} committed (R15)")

    def accepted(
        self, acceptor: str, txid: TxId, ballot: Ballot, values: Mapping[Instance, Value]
    ) -> None:
        """An acceptor flushed this; its answer may be lost, but it counts."""
        facts = self.of(txid)
        news = False
        for instance, value in values.items():
            voters = facts.votes.setdefault((instance, ballot, value), set())
            voters.add(acceptor)
            if len(voters) >= self.quorum:
                chosen = facts.chosen.get(instance)
                if chosen is None:
                    facts.chosen[instance] = value
                    news = True
                else:
                    self.require(
                        facts, chosen == value, f"{instance} chose {chosen} and {value} (agreement)"
                    )
        if news:
            self._decided(facts)

    def _decided(self, facts: Facts) -> None:
        decided = facts.decided
        if decided is Outcome.OPEN:
            return
        self.require(
            facts,
            "only" not in facts.rows.values(),
            f"{decided} by the acceptors, and committed in one phase",
        )
        if decided is Outcome.COMMITTED:
            self.require(
                facts,
                Outcome.ABORTED not in facts.told,
                "somebody was told aborted, and it is committed",
            )
            self.require(facts, not facts.bad, f"work at {sorted(facts.bad)} was lost, committed")
            unprepared = sorted(set(facts.names) - facts.prepared)
            self.require(facts, not unprepared, f"committed, but {unprepared} never prepared")
            undone = set(facts.names) & facts.rolled_back
            self.require(facts, not undone, f"committed, but rolled back at {sorted(undone)}")
            left_out = facts.writers - set(facts.names)
            self.require(facts, not left_out, f"committed without {sorted(left_out)}, which wrote")
        else:
            self.require(
                facts,
                Outcome.COMMITTED not in facts.told,
                "somebody was told committed, and it is aborted",
            )
            self.require(
                facts, "branch" not in facts.rows.values(), "aborted, and a branch is committed"
            )

    # --- participants ---------------------------------------------------------------------------

    def row_committed(self, txid: TxId, participant: str, kind: str) -> None:
        """A branch row is durable."""
        facts = self.of(txid)
        facts.rows[participant] = kind
        facts.ever.add((participant, kind))
        if kind == "fence":
            return
        self.require(
            facts,
            Outcome.ABORTED not in facts.told,
            f"{participant} committed, and somebody was told aborted",
        )
        if kind == "branch":
            self.require(
                facts,
                facts.decided is Outcome.COMMITTED and participant in facts.names,
                f"{participant} committed, the acceptors chose {facts.decided}, J {facts.names}",
            )
        else:
            self.require(
                facts,
                not facts.chosen and not facts.bad,
                f"{participant} committed in one phase beside {facts.chosen}",
            )
            others = {name for name, row in facts.rows.items() if row != "fence"}
            self.require(facts, others == {participant}, f"one phase, and rows at {sorted(others)}")

    def rolled_back(self, txid: TxId, participant: str) -> None:
        """A gid was rolled back."""
        facts = self.of(txid)
        facts.rolled_back.add(participant)
        self.require(
            facts,
            not (facts.decided is Outcome.COMMITTED and participant in facts.names),
            f"{participant} of J was rolled back, and it is committed",
        )

    # --- people ---------------------------------------------------------------------------------

    def tell(self, txid: TxId, outcome: Outcome, *, owner: bool = False) -> None:
        """Somebody was told."""
        facts = self.of(txid)
        if owner:
            facts.mine = outcome
        if outcome is Outcome.OPEN:
            return
        if not facts.writers:  # it leaves no trace, so a forced outcome may be another (R17)
            if owner and outcome is Outcome.COMMITTED:
                self.require(
                    facts, not facts.bad, f"told committed, lost work at {sorted(facts.bad)}"
                )
            return
        facts.told.add(outcome)
        if outcome is Outcome.COMMITTED:
            self.require(facts, facts.committed, f"told committed, and it is {facts.decided}")
        else:
            self.require(facts, not facts.committed, "told aborted, and it is committed")

    def applied(
        self, txid: TxId, outcome: Outcome, participants: Collection[str], fenced: bool
    ) -> None:
        """Somebody says that a decision is applied at these participants."""
        facts = self.of(txid)
        if outcome is Outcome.COMMITTED:
            missing = [
                name
                for name in participants
                if name in facts.names and (name, "branch") not in facts.ever
            ]
            self.require(facts, not missing, f"said to be applied at {missing}, and is not")
        elif outcome is Outcome.ABORTED and fenced:
            missing = [name for name in participants if (name, "fence") not in facts.ever]
            self.require(facts, not missing, f"said to be fenced at {missing}, and is not")

    def report(self, txid: TxId, participant: str, damage: Damage) -> None:
        """Damage was reported."""
        facts = self.of(txid)
        facts.reported[participant] = damage.what
        self.require(
            facts,
            participant in facts.injected,
            f"damage without a cause at {participant}: {damage.what}: {damage.detail}",
        )
