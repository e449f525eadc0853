"""What must never be, whatever happens: judged over everything at once, which no process can see.

What is chosen is counted here from what acceptors really persisted, never by the product's own
`Learner`, so that a mistake there cannot hide itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paxcommit.protocol.values import REGISTRAR, Instance, Outcome, ParticipantSet, Value
from paxcommit.protocol.values import Vote as Voted
from tests.proof.model.acceptors import Vote
from tests.proof.model.database import Database

__all__ = ["Facts", "chosen_of", "judge", "outcome_of"]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that counts.

    Attributes:
        votes: Per acceptor, all that it ever accepted durably.
        databases: Per participant.
        told: What anybody was told.
        settled: Whether a recoverer ended with Aborted, applied and fenced off everywhere.
        rivals: Whether two processes own ballot 0, and nothing but agreement can be asked for.
    """

    votes: Sequence[Sequence[Vote]]
    databases: Mapping[str, Database]
    told: frozenset[Outcome]
    settled: bool
    rivals: bool = False


def judge(facts: Facts) -> str | None:
    """Tell what is wrong, in words; None if nothing is."""
    at_ballot: dict[tuple[int, Instance], Value] = {}
    for ballot, instance, value in (vote for votes in facts.votes for vote in votes):
        if at_ballot.setdefault((ballot, instance), value) != value and not facts.rivals:
            return f"two values of {_name(instance)} are accepted at ballot {ballot}"
    try:
        chosen = chosen_of(facts.votes)
    except ValueError as two:
        return str(two)
    if facts.rivals:
        return None
    return (
        _agreement(chosen, facts) or _validity(chosen, facts) or _telling(outcome_of(chosen), facts)
    )


def chosen_of(votes: Sequence[Sequence[Vote]]) -> dict[Instance, Value]:
    """What F+1 acceptors have accepted at one ballot, per instance.

    Raises:
        ValueError: Two values are chosen in one instance.
    """
    accepted: defaultdict[Vote, int] = defaultdict(int)
    for held in votes:
        for vote in held:
            accepted[vote] += 1
    chosen: dict[Instance, Value] = {}
    for (_, instance, value), count in accepted.items():
        if 2 * count > len(votes) and chosen.setdefault(instance, value) != value:
            raise ValueError(f"two values are chosen for {_name(instance)}")
    return chosen


def outcome_of(chosen: Mapping[Instance, Value]) -> Outcome:
    """R5, once more and by itself."""
    registrar = chosen.get(REGISTRAR)
    if registrar is None:
        return Outcome.OPEN
    if not isinstance(registrar, ParticipantSet):
        return Outcome.ABORTED
    votes = {chosen.get(name) for name in registrar.names}
    if Voted.ABORTED in votes:
        return Outcome.ABORTED
    return Outcome.COMMITTED if votes == {Voted.PREPARED} else Outcome.OPEN


def _agreement(chosen: Mapping[Instance, Value], facts: Facts) -> str | None:
    outcome = outcome_of(chosen)
    j = chosen.get(REGISTRAR)
    names = j.names if isinstance(j, ParticipantSet) else ()
    for name, database in facts.databases.items():
        match database.row:
            case "branch" if outcome is not Outcome.COMMITTED:
                return f"{name} is committed, but the outcome is {outcome}"
            case "branch" if name not in names:
                return f"{name} is committed, but is not in the chosen J"
            case "only" if outcome is not Outcome.OPEN:
                return f"{name} is committed in one phase, but {outcome} is chosen"
            case _:
                pass
        if outcome is Outcome.COMMITTED and name in names:
            if database.rolled_back:
                return f"it is committed, but {name} of J is rolled back"
            if database.row not in (None, "branch"):
                return f"it is committed, but at {name} of J stands a row {database.row!r}"
    if sum(database.row == "only" for database in facts.databases.values()) > 1:
        return "two participants committed in one phase"
    return None


def _validity(chosen: Mapping[Instance, Value], facts: Facts) -> str | None:
    """Only what was proposed is chosen: Prepared by who is prepared, the J of all who wrote."""
    databases = facts.databases
    for name, database in databases.items():
        voted = any(ballot == 0 for votes in facts.votes for ballot, _, _ in votes)
        if database.work in ("read-serializable", "conflict") and voted and not database.ended:
            return f"votes are cast although the serializable reader {name} has not committed"
    j = chosen.get(REGISTRAR)
    if isinstance(j, ParticipantSet):
        wrote = tuple(sorted(n for n, it in databases.items() if it.work in ("wrote", "failed")))
        if j.names != wrote:
            return f"J = {j} is chosen, but those who wrote are {', '.join(wrote) or 'nobody'}"
    for name, value in chosen.items():
        if value is Voted.PREPARED and not databases[name].prepared:
            return f"Prepared is chosen for {name}, which never was"
    return None


def _telling(outcome: Outcome, facts: Facts) -> str | None:
    if not any(database.work == "wrote" for database in facts.databases.values()):
        return None  # a transaction that wrote nothing leaves no trace (R17)
    alone = any(database.row == "only" for database in facts.databases.values())
    committed = outcome is Outcome.COMMITTED or alone
    if Outcome.COMMITTED in facts.told and not committed:
        return "somebody was told committed, and it is not"
    if Outcome.ABORTED in facts.told and committed:
        return "somebody was told aborted, and it is committed"
    if {Outcome.COMMITTED, Outcome.ABORTED} <= facts.told:
        return "one was told committed, another aborted"
    if facts.settled:
        for name, database in facts.databases.items():
            if database.gid:
                return f"{name} is prepared after its abort was applied and fenced off"
    return None


def _name(instance: Instance) -> str:
    return "the registrar" if instance == REGISTRAR else instance
