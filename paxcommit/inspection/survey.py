"""Looks at every database of a cluster-to-be, and says why it cannot be made of them (R2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from paxcommit.errors import (
    ClusterError,
    ConfigurationError,
    IdentityMismatch,
    NotEnoughAcceptors,
    ParticipantUnavailable,
    PaxcommitError,
    SchemaError,
)
from paxcommit.inspection.facts import ServerFacts, read_facts
from paxcommit.inspection.installed import (
    Drawn,
    Installed,
    missing_roles,
    read_drawn,
    read_installed,
)
from paxcommit.inspection.sites import Failure, Site, SiteKind, Sites
from paxcommit.settings import Settings
from paxcommit.sql.acceptor import Authority
from paxcommit.sql.epoch import EpochRecord
from paxcommit.sql.link import RegisteredParticipant, registered_participants
from paxcommit.sql.schema import SCHEMA_VERSION
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Survey", "authority_of", "require_all", "survey"]

_T = TypeVar("_T")


def authority_of(record: EpochRecord, acceptor: str) -> Authority:
    """Whom calls to an acceptor are meant for, by the record.

    Raises:
        IdentityMismatch: The record knows no acceptor of that name.
    """
    for each in record.acceptors:
        if each.name == acceptor:
            return Authority(acceptor, each.identity, record.epoch, record.digest)
    raise IdentityMismatch(f"the epoch record names no acceptor {acceptor}")


@dataclass(slots=True)
class Survey:
    """What was found, before anything is created.

    Attributes:
        facts: Of every server.
        installed: In every database.
        drawn: The identity that each acceptor's database has drawn already.
        registries: Of the acceptors that hold a record.
        record: The epoch record that stands somewhere already, None if nowhere.
        notes: What does not keep the cluster from being made.
    """

    settings: Settings
    facts: dict[Site, ServerFacts] = field(default_factory=dict)
    installed: dict[Site, Installed] = field(default_factory=dict)
    drawn: dict[Site, Drawn | None] = field(default_factory=dict)
    registries: dict[Site, Sequence[RegisteredParticipant]] = field(default_factory=dict)
    record: EpochRecord | None = None
    notes: list[str] = field(default_factory=list)

    def holds(self, site: Site, record: EpochRecord) -> bool:
        """Whether an acceptor held the record already."""
        return record in self.installed[site].records

    def takes_part(self, site: Site, record: EpochRecord) -> bool:
        """Whether a participant had adopted the epoch already."""
        return any(each.digest == record.digest for each in self.installed[site].epochs)

    # --- the checks, each of which raises what is wrong first -----------------------------------

    def check_servers(self) -> None:
        """Check that every server is one that acceptors and participants can live on."""
        for site, facts in self.facts.items():
            if facts.in_recovery:
                raise ClusterError(f"{site} is a standby: name its primary in the settings")
            if site.kind is SiteKind.ACCEPTOR and not (facts.fsync and facts.full_page_writes):
                raise ClusterError(
                    f"{site} runs with fsync or full_page_writes off, and would forget votes: turn "
                    f"both on"
                )
            if site.kind is SiteKind.PARTICIPANT and facts.orphan_timeout not in ("", "0"):
                raise ClusterError(
                    f"{site} has prepared_orphaned_transaction_timeout on, which would roll back "
                    f"decided branches: set it to 0"
                )
            if site.kind is SiteKind.PARTICIPANT and facts.slots == 0:
                self.notes.append(
                    f"{site} has max_prepared_transactions = 0 and cannot take part yet: set it to "
                    f"at least the number of concurrent transactions, and restart the server"
                )

    def check_twins(self) -> None:
        """Check that no two names mean one server or one database, whatever the DSNs look like."""
        servers: dict[str, Site] = {}
        databases: dict[tuple[str, str], Site] = {}
        for site, facts in self.facts.items():
            if site.kind is SiteKind.ACCEPTOR:
                twin = servers.setdefault(facts.system_identifier, site)
                if twin is not site:
                    raise ConfigurationError(
                        f"{twin} and {site} are on one server, or on copies of one (system "
                        f"identifier {facts.system_identifier}): make it a server of its own, by "
                        f"initdb"
                    )
            else:
                twin = databases.setdefault((facts.system_identifier, facts.database), site)
                if twin is not site:
                    raise ConfigurationError(
                        f"{twin} and {site} are one database: keep one name for it"
                    )

    def check_schemas(self) -> None:
        """Check that every schema is one that we may install, upgrade or use."""
        for site, here in self.installed.items():
            if here.version is not None and here.version > SCHEMA_VERSION:
                raise SchemaError(
                    f"{site} has paxcommit schema version {here.version}, this code knows "
                    f"{SCHEMA_VERSION}: install a newer paxcommit"
                )
            if not here.may_install:
                raise SchemaError(
                    f"{site}: role {self.facts[site].user} may neither create the paxcommit schema "
                    f"nor owns it: run init as the owner, or let a DBA run `paxcommit init --sql`"
                )

    def check_records(self) -> None:
        """Check that whatever record stands anywhere is one and the same, and ours (R2)."""
        held = [(site, record) for site, here in self.installed.items() for record in here.records]
        names = tuple(sorted(self.settings.acceptors))
        for site, record in held:
            theirs = tuple(acceptor.name for acceptor in record.acceptors)
            if (record.cluster_name, theirs) != (self.settings.cluster, names):
                raise IdentityMismatch(
                    f"{site} already belongs to cluster {record.cluster_name!r} with acceptors "
                    f"{', '.join(theirs)}; the settings say {self.settings.cluster!r} with "
                    f"{', '.join(names)}: use another database, or correct the settings"
                )
            self.record = self.record or record
            if record != self.record:
                raise IdentityMismatch(
                    f"{site} and {held[0][0]} hold epoch records of two different clusters, both "
                    f"called {record.cluster_name!r}: use another database for one of them"
                )
        self._check_identities()
        self._check_epochs()

    def _check_identities(self) -> None:
        for site, drawn in self.drawn.items():
            if drawn is not None and not drawn.in_place:
                raise IdentityMismatch(
                    f"{site} is a copy, a promoted standby or an upgrade of the database that drew "
                    f"its identity: it must not vote again (R13). Use a new database"
                )
            if self.record is None:
                continue
            wanted = authority_of(self.record, site.name).identity
            if drawn is None or drawn.identity != wanted:
                raise IdentityMismatch(
                    f"{site} is not the acceptor that the epoch record names"
                    f"{'' if drawn else ' (it never was one)'}: it was rebuilt, or its DSN points "
                    f"to another database. Point it back; it cannot be replaced within an epoch"
                )

    def _check_epochs(self) -> None:
        digest = self.record.digest if self.record else None
        for site, here in self.installed.items():
            for row in here.epochs:
                if row.digest != digest:
                    raise IdentityMismatch(
                        f"{site} already takes part in another cluster, as {row.participant!r}: "
                        f"use another database"
                    )
                if site.kind is SiteKind.PARTICIPANT and row.participant != site.name:
                    raise IdentityMismatch(
                        f"{site} already takes part in this cluster as {row.participant!r}: keep "
                        f"that name"
                    )

    def check_registries(self) -> None:
        """Check that no name of a participant is registered for another database, or vice versa."""
        for acceptor, registry in self.registries.items():
            for site, facts in self.facts.items():
                if site.kind is not SiteKind.PARTICIPANT:
                    continue
                here = (int(facts.system_identifier), facts.database)
                for known in registry:
                    same_name = known.name == site.name
                    same_place = (known.system_identifier, known.database) == here
                    if same_name != same_place:
                        raise IdentityMismatch(
                            f"{site} is not the participant that {acceptor.label} knows: there, "
                            f"{known.name} is database {known.database!r} of server "
                            f"{known.system_identifier}. Point its DSN back, or use another name"
                        )


async def survey(settings: Settings, sites: Sites, roles: Sequence[str]) -> Survey:
    """Look at every database, and check that a cluster can be made of them; changes nothing.

    Args:
        settings: Name the cluster.
        sites: All of it.
        roles: That are to be granted the use of the schema everywhere.

    Raises:
        ClusterError, ConfigurationError: It cannot; says why, and what to change.
    """
    _require_reachable(sites)
    found = Survey(settings)
    found.facts = await _look(sites, sites.all, lambda site: read_facts(site.role))
    found.check_servers()
    found.check_twins()
    found.installed = await _look(sites, sites.all, lambda _: read_installed())
    found.check_schemas()
    await _check_roles(sites, roles)
    found.drawn = await _look(sites, sites.acceptors, lambda _: read_drawn())
    found.check_records()
    record = found.record
    if record is not None:
        holding = [site for site in sites.acceptors if found.holds(site, record)]
        found.registries = await _look(
            sites, holding, lambda site: registered_participants(authority_of(record, site.name))
        )
        found.check_registries()
    return found


def _require_reachable(sites: Sites) -> None:
    down = sites.unreachable
    if not down:
        return
    reasons = "; ".join(f"{site}: {failure}" for site, failure in down.items())
    error: type[PaxcommitError] = ParticipantUnavailable
    if any(site.kind is SiteKind.ACCEPTOR for site in down):
        error = NotEnoughAcceptors
    raise error(
        f"every acceptor and participant is needed here, and {len(down)} cannot be used: {reasons}"
    )


async def _check_roles(sites: Sites, roles: Sequence[str]) -> None:
    missing = await _look(
        sites,
        sites.all,
        lambda site: missing_roles([*roles, *([site.role] if site.role else [])]),
    )
    for site, names in missing.items():
        if names:
            raise ConfigurationError(
                f"{site} has no role {', '.join(names)}: CREATE ROLE there first, or correct the "
                f"settings"
            )


async def _look(
    sites: Sites, where: Iterable[Site], make: Callable[[Site], Statements[_T]]
) -> dict[Site, _T]:
    return require_all(await sites.each(where, make), "Nothing was created")


def require_all(answers: Mapping[Site, _T | Failure], consequence: str) -> dict[Site, _T]:
    """Return the answers if there is no failure among them.

    Raises:
        PaxcommitError: A site's own, or `ClusterError`; with the site and the consequence.
    """
    good: dict[Site, _T] = {}
    for site, answer in answers.items():
        match answer:
            case DatabaseError() | Unanswered():
                raise ClusterError(f"{site}: {answer}. {consequence}")
            case PaxcommitError():
                raise type(answer)(f"{site}: {answer}. {consequence}")
            case _:
                good[site] = answer
    return good
