"""What is measured: a system on a driver, with so many participants, acceptors and clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["DRIVERS", "SYSTEMS", "Cell", "Group", "groups"]

SYSTEMS = {
    "plain": "COMMIT on each database in parallel; not atomic, the floor",
    "bare": "PREPARE TRANSACTION, then COMMIT PREPARED, in parallel; no log, no recovery",
    "logged-2pc": "two-phase commit with a durable decision row in PostgreSQL between the phases",
    "sqlalchemy": "a SQLAlchemy session with twophase=True and one bind per database",
    "paxcommit-applied": 'paxcommit with wait="applied"',
    "paxcommit-decided": 'paxcommit with wait="decided"',
}
"""Name to sentence, in the order in which they are shown."""

DRIVERS = ("asyncpg", "psycopg", "psycopg-sync")
"""psycopg is the asyncio half of psycopg, psycopg-sync the other one, with a thread per client."""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What one process measures.

    Attributes:
        driver: One of `DRIVERS`.
        system: One of `SYSTEMS`.
        participants: N.
        failures: F; of no meaning where there are no acceptors, and 1 there.
    """

    driver: str
    system: str
    participants: int = 2
    failures: int = 1

    @property
    def acceptors(self) -> bool:
        """Whether acceptors take part."""
        return self.system.startswith("paxcommit")


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One point of the cube.

    Attributes:
        group: Everything but the clients.
        clients: How many at the same time, each in a closed loop.
    """

    group: Group
    clients: int


def groups(
    drivers: Sequence[str],
    systems: Sequence[str],
    participants: Sequence[int],
    failures: Sequence[int],
) -> Iterator[Group]:
    """All groups of a run; F is varied only where it means something."""
    for driver in drivers:
        for n in participants:
            for system in systems:
                for f in failures:
                    group = Group(driver, system, n, f)
                    if group.acceptors or f == failures[0]:
                        yield group
