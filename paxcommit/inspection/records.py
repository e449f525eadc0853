"""Which epoch record the acceptors hold, and which of them one may ask under it (R2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paxcommit.errors import NotEnoughAcceptors
from paxcommit.inspection.sites import Failure, Site, Sites
from paxcommit.settings import Settings
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.epoch import EpochRecord, read_records
from paxcommit.sql.schema import check_schema
from paxcommit.sql.statement import Statements

__all__ = ["Records", "read_all_records"]


@dataclass(frozen=True, slots=True)
class Records:
    """What the acceptors hold.

    Attributes:
        held: Per acceptor, its newest record, None if it holds none, or why it did not say.
        record: The one that F+1 of them hold; None if there is none.
    """

    held: Mapping[Site, EpochRecord | Failure | None]
    record: EpochRecord | None

    @property
    def best(self) -> EpochRecord | None:
        """`record`, or else the only one that any acceptor holds: enough to ask, not to act."""
        if self.record is not None:
            return self.record
        seen = {held for held in self.held.values() if isinstance(held, EpochRecord)}
        return seen.pop() if len(seen) == 1 else None

    @property
    def authorities(self) -> dict[Site, Authority]:
        """Whom calls are meant for, per acceptor that `best` names, whatever it holds."""
        record = self.best
        if record is None:
            return {}
        named = {each.name: each.identity for each in record.acceptors}
        return {
            site: Authority(site.name, named[site.name], record.epoch, record.digest)
            for site in self.held
            if site.name in named
        }

    def require_best(self) -> EpochRecord:
        """Return `best`.

        Raises:
            NotEnoughAcceptors: No acceptor told a record, or they told different ones; says what
                each said.
        """
        if (record := self.best) is not None:
            return record
        said = "; ".join(
            f"{site}: {'no epoch record' if held is None else _spell(held)}"
            for site, held in self.held.items()
        )
        raise NotEnoughAcceptors(
            f"the acceptors do not tell which cluster this is ({said}). Has `paxcommit init` been "
            f"run?"
        )


async def read_all_records(settings: Settings, sites: Sites) -> Records:
    """Ask every acceptor for its newest epoch record."""
    held = await sites.each(sites.acceptors, lambda _: _newest())
    for record in {each for each in held.values() if isinstance(each, EpochRecord)}:
        if sum(each == record for each in held.values()) >= settings.majority:
            return Records(held, record)
    return Records(held, None)


def _newest() -> Statements[EpochRecord | None]:
    yield from check_schema()
    records = yield from read_records()
    return records[-1] if records else None


def _spell(held: EpochRecord | Failure) -> str:
    if isinstance(held, EpochRecord):
        return f"a record of cluster {held.cluster_name!r} ({held.digest})"
    return str(held)
