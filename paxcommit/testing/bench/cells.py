"""What is measured: a system on a driver, with so many participants, acceptors and clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["DRIVERS", "FLOORS", "SYSTEMS", "Cell", "Group", "groups"]

SYSTEMS = {
    "plain": "COMMIT on each database in parallel; not atomic",
    "bare": "PREPARE TRANSACTION, then COMMIT PREPARED, in parallel; no log, no recovery",
    "logged-2pc": "two-phase commit with a durable decision row in PostgreSQL between the phases",
    "sqlalchemy": "a SQLAlchemy session with twophase=True and one bind per database",
    "paxcommit-applied": 'paxcommit with wait="applied"',
    "paxcommit-decided": 'paxcommit with wait="decided"',
}
"""Name to sentence, in the order in which they are shown."""

FLOORS = {
    "floor": "what paxcommit sends to the servers, from a client that does nothing else; unsafe",
    "floor-decided": "the same, ending once F+1 acceptors have accepted",
    "floor-led": "`floor`, led by the protocol's machine, with what the rules demand; unsafe",
    "floor-led-decided": "the same, ending once F+1 acceptors have accepted",
    "floor-rows": "the same durable facts by plain INSERTs, with nothing checked; unsafe",
    "floor-rows-decided": "the same, ending once F+1 acceptors have accepted",
    "floor-votes": "`floor` without its branch rows; unsafe",
    "floor-branches": "`floor` without its votes; unsafe",
}
"""Likewise; measured only where they are named, on asyncpg and servers of the benchmark's own."""

DRIVERS = ("asyncpg", "psycopg", "psycopg-sync")
"""psycopg is the asyncio half of psycopg, psycopg-sync the other one, with a thread per client."""


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What one process measures.

    Attributes:
        driver: One of `DRIVERS`.
        system: One of `SYSTEMS` or `FLOORS`.
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
        return self.system.startswith(("paxcommit", "floor")) and self.system != "floor-branches"


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
