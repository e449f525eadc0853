"""Whose branches may be resolved now?  Dead, late, or none of our business yet (R25, R26).

A wrong guess costs an abort, never atomicity: what is *decided* is never a matter of clocks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from paxcommit.ids import TxId
from paxcommit.protocol.messages import AcceptorName
from paxcommit.protocol.recovery import Mandate

__all__ = ["SETTLED_AFTER", "Case", "SeenBranch", "Sightings", "is_dead", "triage"]

SETTLED_AFTER = 1.0
"""Seconds a living coordinator is given to apply its own decision before others look."""


@dataclass(frozen=True, slots=True)
class SeenBranch:
    """A gid of ours in some participant's ``pg_prepared_xacts``.

    Attributes:
        txid: Its transaction.
        participant: Where.
        age: Seconds since ``prepared``, by that server's clock.
        deadline: As its gid spells it, in seconds.
    """

    txid: TxId
    participant: str
    age: float
    deadline: int


class Sightings:
    """Since when one recoverer has seen each branch, by its own clock, which nobody sets.

    A server whose clock is set back would keep its branches young for as long, and whoever waits
    for their locks would wait until it has caught up.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[TxId, str], float] = {}

    def age(self, branches: Sequence[SeenBranch], now: float) -> list[SeenBranch]:
        """Return the branches of one look, none younger than it is to this recoverer.

        Args:
            branches: All that are seen now; those not among them are forgotten.
            now: Seconds on a monotonic clock.
        """
        keys = [(branch.txid, branch.participant) for branch in branches]
        self._since = {key: self._since.get(key, now) for key in keys}
        return [
            replace(branch, age=max(branch.age, now - self._since[key]))
            for key, branch in zip(keys, branches, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Case:
    """A transaction to resolve now.

    Attributes:
        txid: Its id.
        mandate: How far one may go.
        seen: Participants at which a gid of it was seen, and the deadline that the gid spells.
    """

    txid: TxId
    mandate: Mandate
    seen: Mapping[str, int]


def is_dead(coordinator: int, holders: Mapping[AcceptorName, Collection[int]], quorum: int) -> bool:
    """Whether F+1 acceptors *answered* that they do not hold the coordinator's lock (R26).

    Args:
        coordinator: The incarnation.
        holders: Per acceptor that answered, the incarnations whose lock is held there.
        quorum: F+1.
    """
    return sum(coordinator not in held for held in holders.values()) >= quorum


def triage(
    branches: Iterable[SeenBranch],
    holders: Mapping[AcceptorName, Collection[int]],
    quorum: int,
) -> list[Case]:
    """Tell which transactions to resolve now, oldest branch first."""
    by_txid: dict[TxId, list[SeenBranch]] = {}
    for branch in branches:
        by_txid.setdefault(branch.txid, []).append(branch)
    cases = []
    for txid, seen in sorted(by_txid.items(), key=lambda item: -max(b.age for b in item[1])):
        late = any(branch.age >= branch.deadline for branch in seen)
        if late or is_dead(txid.coordinator, holders, quorum):
            mandate = Mandate.LEAD
        elif max(branch.age for branch in seen) >= SETTLED_AFTER:
            mandate = Mandate.LEARN
        else:
            continue
        cases.append(Case(txid, mandate, {each.participant: each.deadline for each in seen}))
    return cases
