"""Everything that servers hold of one transaction, and what recovery would make of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paxcommit.errors import ClusterError
from paxcommit.ids import TxId
from paxcommit.inspection.branches import (
    Branch,
    Coordinator,
    read_branches,
    read_coordinators,
)
from paxcommit.inspection.prepared import Blocked, read_blocked
from paxcommit.inspection.records import Records, read_all_records
from paxcommit.inspection.sites import Failure, Site, Sites
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import Accepted, Learn, Learned
from paxcommit.protocol.values import (
    REGISTRAR,
    Instance,
    Outcome,
    ParticipantSet,
    Value,
    Vote,
)
from paxcommit.settings import Settings
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.finish import branch_kind
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import RecordedDamage, damages
from paxcommit.sql.statement import Statements

__all__ = ["Found", "Holding", "look_up"]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one participant's database holds of the transaction.

    Attributes:
        branch: Its prepared branch, if there is one.
        row: The kind of the committed branch row: ``branch``, ``only``, ``fence``, or None.
        blocked: Sessions that wait for the prepared branch.
        damages: What was recorded there.
        failure: Why it could not be asked; then the rest is empty.
    """

    branch: Branch | None = None
    row: str | None = None
    blocked: Sequence[Blocked] = ()
    damages: Sequence[RecordedDamage] = ()
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one transaction.

    Attributes:
        txid: The transaction.
        majority: How many acceptors are enough.
        answers: Per acceptor, what it holds, or why it did not say.
        chosen: Per instance, the value that F+1 of them hold at one ballot.
        outcome: What follows from the chosen values, or from a one-phase commit (R5, R17).
        coordinator: Whether the coordinator lives.
        holdings: Per participant.
    """

    txid: TxId
    majority: int
    answers: Mapping[Site, Learned | Failure]
    chosen: Mapping[Instance, Value]
    outcome: Outcome
    coordinator: Coordinator
    holdings: Mapping[Site, Holding]

    @property
    def learned(self) -> dict[Site, Learned]:
        """The acceptors that answered."""
        return {site: each for site, each in self.answers.items() if isinstance(each, Learned)}

    @property
    def silent(self) -> list[str]:
        """The acceptors that did not answer; without failures F+1 have the votes, maybe these."""
        return sorted(site.name for site in self.answers.keys() - self.learned.keys())

    @property
    def enough(self) -> bool:
        """Whether F+1 acceptors answered."""
        return len(self.learned) >= self.majority

    @property
    def known(self) -> bool:
        """Whether any acceptor that answered knows of the transaction."""
        return any(each.promised >= 0 for each in self.learned.values())

    @property
    def prepared(self) -> dict[Site, Branch]:
        """Where a branch is prepared."""
        return {site: held.branch for site, held in self.holdings.items() if held.branch}

    @property
    def one_phase(self) -> Site | None:
        """The participant that committed it alone, in one phase (R17)."""
        return next((site for site, held in self.holdings.items() if held.row == "only"), None)

    @property
    def damaged(self) -> dict[Site, str]:
        """Where a database contradicts what is decided, recorded or seen now (R19, R20)."""
        chosen = self.chosen.get(REGISTRAR)
        found = {}
        for site, held in self.holdings.items():
            if held.damages:
                found[site] = held.damages[0].damage.detail
            elif held.failure is None and self.outcome is Outcome.ABORTED and held.row == "branch":
                found[site] = "its branch is committed, although the transaction is aborted"
            elif (
                held.failure is None
                and self.outcome is Outcome.COMMITTED
                and isinstance(chosen, ParticipantSet)
                and site.name in chosen.names
                and held.branch is None
                and held.row != "branch"
            ):
                found[site] = "its branch is lost: it is neither prepared nor committed there"
        return found

    @property
    def expected(self) -> Outcome | None:
        """What a ballot led now would decide (R25); None: it depends on which F+1 answer first."""
        if self.outcome is not Outcome.OPEN:
            return self.outcome
        quorums = itertools.combinations(self.learned.values(), self.majority)
        results = {_would_decide(quorum) for quorum in quorums}
        return results.pop() if len(results) == 1 else None


def _would_decide(quorum: Iterable[Learned]) -> Outcome:
    """Take what a phase 1 by this quorum would return, and lead from there (section 4.1)."""
    highest: dict[Instance, Accepted] = {}
    for each in quorum:
        for instance, accepted in each.accepted.items():
            if instance not in highest or accepted.ballot > highest[instance].ballot:
                highest[instance] = accepted
    registrar = highest.get(REGISTRAR)
    if registrar is None or not isinstance(registrar.value, ParticipantSet):
        return Outcome.ABORTED
    votes = [highest.get(name) for name in registrar.value.names]
    prepared = all(vote is not None and vote.value is Vote.PREPARED for vote in votes)
    return Outcome.COMMITTED if prepared else Outcome.ABORTED


async def look_up(settings: Settings, sites: Sites, txid: TxId) -> Found:
    """Ask every server about one transaction; changes nothing.

    Raises:
        NotEnoughAcceptors: No acceptor tells the epoch record.
        ClusterError: The transaction is of another epoch.
    """
    records = await read_all_records(settings, sites)
    record = records.require_best()
    if txid.epoch != record.epoch:
        raise ClusterError(
            f"{txid} is of epoch {txid.epoch}; this cluster is in epoch {record.epoch}"
        )
    answers = await _learn(sites, records, txid)
    learner = Learner(txid, settings.majority)
    for site, answer in answers.items():
        if isinstance(answer, Learned):
            learner.add(site.name, answer.accepted)
    holdings = await _hold(sites, record.digest, txid)
    outcome = learner.outcome
    if outcome is Outcome.OPEN and any(held.row == "only" for held in holdings.values()):
        outcome = Outcome.COMMITTED
    states = await read_coordinators(settings, sites, records, [txid.coordinator])
    return Found(
        txid,
        settings.majority,
        answers,
        dict(learner.chosen),
        outcome,
        states[txid.coordinator],
        holdings,
    )


async def _learn(sites: Sites, records: Records, txid: TxId) -> dict[Site, Learned | Failure]:
    named = records.authorities
    return await sites.each(named, lambda site: _learn_one(named[site], txid))


def _learn_one(authority: Authority, txid: TxId) -> Statements[Learned]:
    (answer,) = yield from ask(authority, Marks(), [Learn(txid)])
    if not isinstance(answer, Learned):
        raise ClusterError(f"it refuses: {type(answer).__name__}")
    return answer


async def _hold(sites: Sites, digest: str, txid: TxId) -> dict[Site, Holding]:
    branches = await read_branches(sites, digest)
    mine = {branch.participant: branch for branch in branches.ours if branch.txid == txid}
    answers = await sites.each(
        sites.participants, lambda site: _hold_one(digest, txid, site, mine.get(site.name))
    )
    return {
        site: answer if isinstance(answer, Holding) else Holding(failure=answer)
        for site, answer in answers.items()
    }


def _hold_one(digest: str, txid: TxId, site: Site, branch: Branch | None) -> Statements[Holding]:
    row = yield from branch_kind(digest, txid, site.name)
    blocked = (yield from read_blocked([branch.gid])) if branch else []
    recorded = yield from damages()
    return Holding(branch, row, blocked, [each for each in recorded if each.txid == txid])
