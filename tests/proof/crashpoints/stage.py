"""The servers, and on them databases for each worker and number of participants."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paxcommit import Settings
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.testing import Cluster, Layout

from .cases import PARTICIPANTS

__all__ = ["REFUSED", "Books", "prepare"]

REFUSED = 7
"""A value that the second row to have it is refused for, when the transaction is prepared."""

_DEADLINE = 30.0
"""Seconds; no case waits for it, for it is the lock that tells that a process is dead (R26)."""

_TABLE = f"""
    create table entry (
        txid text primary key,
        token integer unique deferrable initially deferred
    );
    insert into entry values ('nobody', {REFUSED})
"""


@dataclass(frozen=True)
class Books:
    """A cluster of databases to commit in; plain data, so that processes may be forked with it.

    Attributes:
        acceptors: DSN by acceptor.
        participants: DSN by participant.
    """

    acceptors: Mapping[str, str] = field(repr=False)
    participants: Mapping[str, str] = field(repr=False)

    @property
    def names(self) -> dict[str, str]:
        """Whom a DSN leads to."""
        both = {**self.acceptors, **self.participants}
        return {dsn: name for name, dsn in both.items()}

    def options(self, application: str = "") -> dict[str, Any]:
        """Settings, perhaps of somebody who can be told apart in ``pg_stat_activity``."""
        suffix = f"&application_name={application}" if application else ""
        return {
            "cluster": "crashpoints",
            "acceptors": {name: dsn + suffix for name, dsn in self.acceptors.items()},
            "participants": {name: dsn + suffix for name, dsn in self.participants.items()},
            "deadline": _DEADLINE,
        }

    @functools.cached_property
    def settings(self) -> Settings:
        """For coordinators and recoverers."""
        return Settings(**self.options())


def prepare(cluster: Cluster, n: int, suffix: str) -> Books:
    """Make the databases of a cluster with `n` participants."""
    layout = Layout.create(
        cluster, participants=PARTICIPANTS[:n], name="crashpoints", suffix=suffix
    )
    asyncio.run(initialise(Settings(**layout.settings), choose_async("asyncpg")))
    for place in layout.participant_places.values():
        place.execute(*_TABLE.strip().split(";\n"))
    return Books(_plain(layout.acceptors), _plain(layout.participants))


def _plain(dsns: Mapping[str, str]) -> dict[str, str]:
    # A process that lives for milliseconds should not spend most of them on TLS.
    return {name: f"{dsn}?sslmode=disable" for name, dsn in dsns.items()}
