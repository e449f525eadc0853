"""What all databases of a cluster hold of every transaction: the facts, without a verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from paxcommit.errors import ClusterError, ConfigurationError, PaxcommitError
from paxcommit.ids import TxId
from paxcommit.inspection.branches import Branch, read_branches
from paxcommit.inspection.records import Records, read_all_records
from paxcommit.inspection.sites import Failure, Site, Sites
from paxcommit.protocol.learner import Learner
from paxcommit.protocol.messages import Learn, Learned
from paxcommit.protocol.values import Outcome
from paxcommit.settings import Settings
from paxcommit.sql.acceptor import Authority, ask
from paxcommit.sql.marks import Marks
from paxcommit.sql.participant import RecordedDamage, damages
from paxcommit.sql.statement import DatabaseError, Result, Sql, Statements, Unanswered

__all__ = ["Truth", "read_truth"]

_T = TypeVar("_T")

_AT_ONCE = 1_000
_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class Truth:
    """What was found.

    Attributes:
        participants: All of them, by name.
        majority: How many acceptors are enough (F+1).
        silent: Per acceptor or participant that could not be asked, why.
        answers: Per transaction, what each acceptor holds of it.
        rows: Per transaction, the kind of its branch row in each participant that has one.
        prepared: Branches of this cluster that are prepared.
        foreign: gids that look like paxcommit's and are not this cluster's, with their place.
        damage: Per participant, what was written down as damage there.
        effects: Per participant that was asked, whether the caller's effect is there.
    """

    participants: Sequence[str]
    majority: int
    silent: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[TxId, Mapping[str, Learned]] = field(default_factory=dict)
    rows: Mapping[TxId, Mapping[str, str]] = field(default_factory=dict)
    prepared: Sequence[Branch] = ()
    foreign: Sequence[str] = ()
    damage: Mapping[str, Sequence[RecordedDamage]] = field(default_factory=dict)
    effects: Mapping[str, bool] = field(default_factory=dict)

    def learner(self, txid: TxId) -> Learner:
        """What the acceptors' answers choose for a transaction."""
        learner = Learner(txid, self.majority)
        for acceptor, learned in self.answers.get(txid, {}).items():
            learner.add(acceptor, learned.accepted)
        return learner

    def outcome(self, txid: TxId) -> Outcome:
        """Committed, aborted, or open as far as the databases tell (R5, R17)."""
        outcome = self.learner(txid).outcome
        if outcome is Outcome.OPEN and "only" in self.rows.get(txid, {}).values():
            return Outcome.COMMITTED
        return outcome

    @property
    def transactions(self) -> list[TxId]:
        """All that any database knows of."""
        return sorted({*self.answers, *self.rows, *(branch.txid for branch in self.prepared)})


async def read_truth(
    settings: Settings,
    sites: Sites,
    *,
    asked: Collection[TxId] = (),
    effects: Mapping[str, str] | None = None,
) -> Truth:
    """Read everything; changes nothing.

    Args:
        settings: Name the cluster.
        sites: All of it.
        asked: Transactions to ask the acceptors about even if no database lists them.
        effects: Per participant, a query that tells whether an effect is there.

    Raises:
        NotEnoughAcceptors: No acceptor tells the epoch record.
        ConfigurationError: A query is not one that can tell, or the login may not read
            paxcommit's tables.
    """
    silent: dict[str, str] = {}
    records = await read_all_records(settings, sites)
    record = records.require_best()
    for txid in asked:
        if txid.epoch != record.epoch:
            raise ConfigurationError(f"transaction {txid} is of another epoch, or another cluster")
    rows: dict[TxId, dict[str, str]] = {}
    for site, found in _heard(await sites.each(sites.participants, lambda _: _rows()), silent):
        for txid, kind in found:
            rows.setdefault(txid, {})[site.name] = kind
    known = {*asked, *rows}
    for _, listed in _heard(await sites.each(records.authorities, lambda _: _listed()), silent):
        known.update(listed)
    branches = await read_branches(sites, record.digest)
    silent.update({site.label: str(why) for site, why in branches.failures.items()})
    recorded = _heard(await sites.each(sites.participants, lambda _: damages()), silent)
    return Truth(
        participants=[site.name for site in sites.participants],
        majority=settings.majority,
        answers=await _learn(sites, records, sorted(known), silent),
        rows=rows,
        prepared=branches.ours,
        foreign=[
            f"{gid} at {site.name}" for site, gids in branches.foreign.items() for gid in gids
        ],
        damage={site.name: each for site, each in recorded if each},
        effects=await _look(sites, effects or {}, silent),
        silent=silent,
    )


def _heard(
    answers: Mapping[Site, _T | Failure], silent: dict[str, str]
) -> Iterator[tuple[Site, _T]]:
    """Go through what was answered; who did not is silent."""
    for site, answer in answers.items():
        if isinstance(answer, DatabaseError) and answer.sqlstate == _INSUFFICIENT_PRIVILEGE:
            raise ConfigurationError(
                f"{site}: {answer}: to judge, give settings whose logins may read the schema "
                f"paxcommit, such as its owner's"
            )
        if isinstance(answer, DatabaseError | Unanswered | PaxcommitError):
            silent.setdefault(site.label, str(answer))
        else:
            yield site, answer


def _rows() -> Statements[list[tuple[TxId, str]]]:
    result = yield Sql("SELECT epoch, coordinator, seq, kind FROM paxcommit.branch")
    return [(TxId(epoch, owner, seq), kind) for epoch, owner, seq, kind in result.rows]


def _listed() -> Statements[list[TxId]]:
    result = yield Sql("SELECT epoch, coordinator, seq FROM paxcommit.transaction")
    return [TxId(*row) for row in result.rows]


async def _learn(
    sites: Sites, records: Records, txids: Sequence[TxId], silent: dict[str, str]
) -> dict[TxId, dict[str, Learned]]:
    named = records.authorities
    answers: dict[TxId, dict[str, Learned]] = {}
    for start in range(0, len(txids), _AT_ONCE):
        told = await sites.each(named, _asking(named, txids[start : start + _AT_ONCE]))
        for site, learned in _heard(told, silent):
            for each in learned:
                answers.setdefault(each.txid, {})[site.name] = each
    return answers


def _asking(
    named: Mapping[Site, Authority], txids: Sequence[TxId]
) -> Callable[[Site], Statements[list[Learned]]]:
    return lambda site: _ask(named[site], txids)


def _ask(authority: Authority, txids: Sequence[TxId]) -> Statements[list[Learned]]:
    answers = yield from ask(authority, Marks(), [Learn(txid) for txid in txids])
    refusals = [each for each in answers if not isinstance(each, Learned)]
    if refusals:
        raise ClusterError(f"it refuses: {type(refusals[0]).__name__}")
    return [each for each in answers if isinstance(each, Learned)]


async def _look(
    sites: Sites, effects: Mapping[str, str], silent: dict[str, str]
) -> dict[str, bool]:
    known = {site.name: site for site in sites.participants}
    if unknown := sorted(effects.keys() - known.keys()):
        raise ConfigurationError(
            f"there is no participant {', '.join(unknown)}: the settings have {', '.join(known)}"
        )
    asked = [known[name] for name in effects]
    answers = await sites.each(asked, lambda site: _effect(effects[site.name]))
    for site, answer in answers.items():
        if isinstance(answer, DatabaseError):
            raise ConfigurationError(f"the query for {site.name} failed: {answer}")
    heard = _heard(answers, silent)
    return {site.name: _there(site.name, effects[site.name], result) for site, result in heard}


def _effect(query: str) -> Statements[Result]:
    yield Sql("BEGIN READ ONLY")
    try:
        return (yield Sql(query))
    finally:
        yield Sql("ROLLBACK")


def _there(name: str, query: str, result: Result) -> bool:
    """Read the answer; what could be read both ways is refused, or checks pass by accident."""
    if result.tag != f"SELECT {len(result.rows)}":
        raise ConfigurationError(f"the query for {name} must be one SELECT: {query}")
    if not result.rows:
        return False
    value = result.rows[0][0]
    if len(result.rows) > 1 or len(result.rows[0]) > 1 or not isinstance(value, int):
        raise ConfigurationError(
            f"the query for {name} must give no row, or a single boolean or number (such as "
            f"count(*)), so that it says whether the effect is there: {query}"
        )
    return bool(value)
