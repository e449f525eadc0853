"""Making a cluster: schemas, the epoch record, participants (R2); a second run changes nothing.

Everything is looked at before anything is created, so that a cluster which cannot be made is left
as it was.  What is created is created in an order in which an interrupted run can be finished by
another one, or by several at once: identities are durable before the epoch record names them, and
the record of the first acceptor wins.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from paxcommit.errors import ConfigurationError, IdentityMismatch
from paxcommit.inspection.sites import Site, Sites, open_sites
from paxcommit.inspection.survey import Survey, authority_of, require_all, survey
from paxcommit.ports import AsyncDriver
from paxcommit.settings import Settings
from paxcommit.sql import participant as participant_sql
from paxcommit.sql.epoch import AcceptorIdentity, EpochRecord, claim_identity, write_record
from paxcommit.sql.link import RegisteredParticipant, Registration, register_participant
from paxcommit.sql.marks import Marks
from paxcommit.sql.schema import SCHEMA_VERSION, install
from paxcommit.sql.statement import Statements

__all__ = ["Initialised", "initialise"]

_TIMEOUT = 30.0
"""Seconds for one step at one database; creating a schema may wait for somebody's lock."""

_HALF_WAY = "What is done stays; run init again to finish it"


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `initialise` came to.

    Attributes:
        record: The epoch record that stands on every acceptor.
        done: What this run changed, in words; empty if everything stood already.
        notes: What does not keep the cluster from being made, but from working well.
    """

    record: EpochRecord
    done: tuple[str, ...]
    notes: tuple[str, ...]


async def initialise(
    settings: Settings, driver: AsyncDriver, *, roles: Sequence[str] = ()
) -> Initialised:
    """Install or upgrade the schemas, and write or adopt the epoch record (R2).

    Needs every acceptor and every participant, and logins that may create a schema or own it.

    Args:
        settings: Name the cluster.
        driver: To connect with.
        roles: Who may coordinate and recover, on every server; each participant's configured role
            may at its own.

    Raises:
        NotEnoughAcceptors, ParticipantUnavailable: A server is not reachable.  Nothing was
            created.
        IdentityMismatch: A database belongs to another cluster, or is not where the record saw
            it.  Nothing was created.
        ConfigurationError: Two names for one server or database, an unknown role, ….  Nothing was
            created.
        SchemaError: A newer schema, or the login may not create one.  Nothing was created.
        ClusterError: A server failed half way.  What was created stays, and another run finishes.
    """
    async with open_sites(settings, driver, timeout=_TIMEOUT) as sites:
        found = await survey(settings, sites, roles)
        making = _Making(settings, sites, found, roles)
        record = await making.run()
        return Initialised(record, tuple(making.done), tuple(found.notes))


class _Making:
    """The creating half of `initialise`, after everything was found fit."""

    def __init__(
        self, settings: Settings, sites: Sites, found: Survey, roles: Sequence[str]
    ) -> None:
        self.done: list[str] = []
        self._settings = settings
        self._sites = sites
        self._found = found
        self._roles = roles

    async def run(self) -> EpochRecord:
        await self._install()
        identities = await self._claim()
        record = await self._write_record(identities)
        await self._adopt(record)
        await self._register(record)
        return record

    async def _install(self) -> None:
        def statements(site: Site) -> Statements[bool]:
            return install(sorted({*self._roles, *([site.role] if site.role else [])}))

        migrated = require_all(await self._sites.each(self._sites.all, statements), _HALF_WAY)
        self.done += [
            f"installed schema version {SCHEMA_VERSION} at {site}"
            for site, changed in migrated.items()
            if changed
        ]

    async def _claim(self) -> Mapping[Site, AcceptorIdentity]:
        identities = require_all(
            await self._sites.each(self._sites.acceptors, lambda site: claim_identity(site.name)),
            _HALF_WAY,
        )
        self.done += [
            f"drew an identity for {site}"
            for site in identities
            if self._found.drawn.get(site) is None
        ]
        return identities

    async def _write_record(self, identities: Mapping[Site, AcceptorIdentity]) -> EpochRecord:
        """Write the record in sorted order; the first acceptor's wins (R2)."""
        record = self._found.record or EpochRecord(
            epoch=1,
            cluster_id=str(uuid.uuid4()),
            cluster_name=self._settings.cluster,
            acceptors=tuple(identities[site] for site in self._sites.acceptors),
        )
        for site in self._sites.acceptors:
            answer = await self._sites.each([site], partial(_write, record))
            standing = require_all(answer, _HALF_WAY)[site]
            if standing == record:
                if not self._found.holds(site, record):
                    self.done.append(f"wrote the epoch record at {site}")
            elif site == self._sites.acceptors[0] and (
                (standing.cluster_name, standing.acceptors)
                == (record.cluster_name, record.acceptors)
            ):
                record = standing  # another init, at the same time, was here first
            else:
                raise IdentityMismatch(
                    f"{site} holds another epoch record, written while this init was running; "
                    f"nothing was overwritten. Look for a second init with other settings"
                )
        return record

    async def _adopt(self, record: EpochRecord) -> None:
        stand = require_all(
            await self._sites.each(
                self._sites.participants,
                lambda site: participant_sql.adopt_epoch(record.epoch, record.digest, site.name),
            ),
            _HALF_WAY,
        )
        for site, row in stand.items():
            if (row.epoch, row.digest, row.participant) != (record.epoch, record.digest, site.name):
                raise IdentityMismatch(
                    f"{site} became participant {row.participant} of another cluster or name "
                    f"while this init was running; nothing was overwritten"
                )
            if not self._found.takes_part(site, record):
                self.done.append(f"made {site} a participant of epoch {record.epoch}")

    async def _register(self, record: EpochRecord) -> None:
        marks = Marks()
        for site in self._sites.participants:
            facts = self._found.facts[site]
            who = RegisteredParticipant(site.name, int(facts.system_identifier), facts.database)
            answers = require_all(
                await self._sites.each(
                    self._sites.acceptors, partial(_register, record, who, marks)
                ),
                _HALF_WAY,
            )
            for acceptor, (registration, detail) in answers.items():
                if registration is Registration.CONFLICT:
                    raise ConfigurationError(f"{site} cannot be registered at {acceptor}: {detail}")
            if any(answer[0] is Registration.REGISTERED for answer in answers.values()):
                self.done.append(f"registered {site} on the acceptors")


def _write(record: EpochRecord, _: Site) -> Statements[EpochRecord]:
    return write_record(record)


def _register(
    record: EpochRecord, who: RegisteredParticipant, marks: Marks, acceptor: Site
) -> Statements[tuple[Registration, str]]:
    return register_participant(authority_of(record, acceptor.name), marks, who)
