"""Every database that the settings name, each on a connection of its own, or why there is none."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pydantic import SecretStr

from paxcommit.dsn import Address
from paxcommit.errors import PaxcommitError
from paxcommit.ports import AsyncDriver, AsyncSession
from paxcommit.runtime.aio.run import run_statements
from paxcommit.settings import Settings
from paxcommit.sql.link import link_settings
from paxcommit.sql.statement import DatabaseError, Statements, Unanswered

__all__ = ["Failure", "Site", "SiteKind", "Sites", "open_sites", "sites_of"]

_T = TypeVar("_T")

Failure: TypeAlias = "DatabaseError | Unanswered | PaxcommitError"
"""Why a site did not do what it was asked."""

_FAILURES = (DatabaseError, Unanswered, PaxcommitError)


class SiteKind(enum.Enum):
    """What a database is there for."""

    ACCEPTOR = "acceptor"
    PARTICIPANT = "participant"


@dataclass(frozen=True, slots=True)
class Site:
    """One entry of the settings.

    Attributes:
        kind: Acceptor or participant.
        name: In the settings.
        address: Where it is, without credentials.
        dsn: Where it is, with them.
        role: The role that owns gids there (R18); None for the login's own, and for acceptors.
    """

    kind: SiteKind
    name: str
    address: Address
    dsn: SecretStr = field(repr=False)
    role: str | None = None

    @property
    def label(self) -> str:
        """Kind and name, e.g. ``acceptor a1``."""
        return f"{self.kind.value} {self.name}"

    def __str__(self) -> str:
        return f"{self.label} at {self.address}"


def sites_of(settings: Settings) -> tuple[Site, ...]:
    """Return the acceptors, then the participants, each sorted by name."""
    acceptors = [
        Site(SiteKind.ACCEPTOR, name, settings.acceptor_address(name), dsn)
        for name, dsn in sorted(settings.acceptors.items())
    ]
    participants = [
        Site(SiteKind.PARTICIPANT, name, settings.participant_address(name), entry.dsn, entry.role)
        for name, entry in sorted(settings.participants.items())
    ]
    return (*acceptors, *participants)


class Sites:
    """The sites of one cluster, and a session to each that could be reached.

    Args:
        sessions: By site; a failure where there is none.
        timeout: Seconds that one `run` may take.
    """

    def __init__(self, sessions: Mapping[Site, AsyncSession | Failure], timeout: float) -> None:
        self._sessions = sessions
        self._timeout = timeout

    @property
    def acceptors(self) -> tuple[Site, ...]:
        """All acceptors, reachable or not, by name."""
        return tuple(site for site in self._sessions if site.kind is SiteKind.ACCEPTOR)

    @property
    def participants(self) -> tuple[Site, ...]:
        """All participants, reachable or not, by name."""
        return tuple(site for site in self._sessions if site.kind is SiteKind.PARTICIPANT)

    @property
    def all(self) -> tuple[Site, ...]:
        """All acceptors, then all participants."""
        return tuple(self._sessions)

    @property
    def unreachable(self) -> dict[Site, Failure]:
        """The sites without a connection, and why."""
        return {
            site: session
            for site, session in self._sessions.items()
            if isinstance(session, _FAILURES)
        }

    async def run(self, site: Site, statements: Statements[_T]) -> _T:
        """Run statements at a site.

        Raises:
            DatabaseError, Unanswered, PaxcommitError: As the statements do, or as connecting did.
        """
        session = self._sessions[site]
        if isinstance(session, _FAILURES):
            statements.close()
            raise session
        try:
            async with asyncio.timeout(self._timeout):
                return await run_statements(session, statements)
        except TimeoutError:
            session.discard()
            raise Unanswered(f"no answer within {self._timeout:g} s") from None

    async def each(
        self, sites: Iterable[Site], make: Callable[[Site], Statements[_T]]
    ) -> dict[Site, _T | Failure]:
        """Run statements at several sites at once; a failure is an answer."""

        async def one(site: Site) -> _T | Failure:
            try:
                return await self.run(site, make(site))
            except _FAILURES as failure:
                return failure

        sites = tuple(sites)
        return dict(zip(sites, await asyncio.gather(*map(one, sites)), strict=True))

    def close(self) -> None:
        """Cut all connections."""
        for session in self._sessions.values():
            if not isinstance(session, _FAILURES):
                session.discard()


@asynccontextmanager
async def open_sites(
    settings: Settings, driver: AsyncDriver, *, timeout: float | None = None
) -> AsyncIterator[Sites]:
    """Connect to every site at once, and disconnect in the end.

    Args:
        settings: Name the sites.
        driver: To connect with.
        timeout: Seconds that one `Sites.run` may take; ``acceptor_timeout`` if None.
    """

    async def connect(site: Site) -> AsyncSession | Failure:
        limit = settings.connect_timeout
        try:
            session = await driver.connect(site.dsn.get_secret_value(), timeout=limit)
        except _FAILURES as failure:
            return failure
        try:
            async with asyncio.timeout(limit):
                await run_statements(session, link_settings())
        except TimeoutError:
            session.discard()
            return Unanswered(f"no answer within {limit:g} s")
        except _FAILURES as failure:
            session.discard()
            return failure
        return session

    targets = sites_of(settings)
    sessions = dict(zip(targets, await asyncio.gather(*map(connect, targets)), strict=True))
    sites = Sites(sessions, settings.acceptor_timeout if timeout is None else timeout)
    try:
        yield sites
    finally:
        sites.close()
