"""Prepared branches of our cluster, and whether their coordinators live (R25, R26)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paxcommit.errors import InvariantViolation
from paxcommit.ids import TxId
from paxcommit.inspection.prepared import Kind, kind_of
from paxcommit.inspection.records import Records
from paxcommit.inspection.sites import Failure, Site, Sites
from paxcommit.protocol.watching import is_dead
from paxcommit.settings import Settings
from paxcommit.sql.finish import PreparedBranch, prepared_branches
from paxcommit.sql.link import holders

__all__ = ["Branch", "Branches", "Coordinator", "read_branches", "read_coordinators"]


class Coordinator(enum.Enum):
    """What F+1 acceptors say of a coordinator's advisory lock (R26)."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Branch:
    """A prepared branch of this cluster.

    Attributes:
        txid: Its transaction.
        participant: Where.
        gid: Its name there.
        owner: Who may finish it.
        age: Seconds since PREPARE, by that server's clock.
        deadline: Seconds of age from which anybody may finish it.
    """

    txid: TxId
    participant: str
    gid: str
    owner: str
    age: float
    deadline: int

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return self.age >= self.deadline


@dataclass(frozen=True, slots=True)
class Branches:
    """What is prepared at all participants that answered.

    Attributes:
        ours: Of this cluster, oldest first.
        foreign: Per participant, gids that look like paxcommit's and are not ours there.
        failures: The participants that could not be asked, and why.
    """

    ours: Sequence[Branch]
    foreign: Mapping[Site, Sequence[str]]
    failures: Mapping[Site, Failure]


async def read_branches(sites: Sites, digest: str) -> Branches:
    """List what is prepared at every participant.

    Args:
        sites: The cluster.
        digest: Of its epoch record.
    """
    answers = await sites.each(sites.participants, lambda _: prepared_branches())
    ours: list[Branch] = []
    foreign: dict[Site, list[str]] = {}
    failures: dict[Site, Failure] = {}
    for site, found in answers.items():
        if not isinstance(found, list):
            failures[site] = found
            continue
        for each in found:
            match kind_of(each, digest, site.name):
                case Kind.OURS:
                    ours.append(_branch(site, each))
                case Kind.OTHER | Kind.PROBE:
                    pass
                case _:
                    foreign.setdefault(site, []).append(each.text)
    ours.sort(key=lambda branch: -branch.age)
    return Branches(ours, foreign, failures)


def _branch(site: Site, found: PreparedBranch) -> Branch:
    gid = found.gid
    if gid is None:
        raise InvariantViolation("a branch of ours has a gid that does not parse")
    return Branch(gid.txid, site.name, found.text, found.owner, found.age, gid.deadline)


async def read_coordinators(
    settings: Settings, sites: Sites, records: Records, coordinators: Sequence[int]
) -> dict[int, Coordinator]:
    """Ask the acceptors which coordinators live.

    Args:
        settings: Say how many acceptors are enough.
        sites: The cluster.
        records: Under which the acceptors are asked.
        coordinators: The incarnations.
    """
    named = records.authorities
    answers = await sites.each(named, lambda site: holders(named[site], coordinators))
    held = {site.name: found for site, found in answers.items() if isinstance(found, frozenset)}
    states = {}
    for coordinator in coordinators:
        if is_dead(coordinator, held, settings.majority):
            states[coordinator] = Coordinator.DEAD
        elif any(coordinator in found for found in held.values()):
            states[coordinator] = Coordinator.ALIVE
        else:
            states[coordinator] = Coordinator.UNKNOWN
    return states
