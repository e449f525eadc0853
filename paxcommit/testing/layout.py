"""Databases on a cluster's servers, and the paxcommit settings that name them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paxcommit.errors import ConfigurationError
from paxcommit.ids import check_name
from paxcommit.testing.admin import Rows, admin_execute
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.server import Server

__all__ = ["Layout", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """One database of a layout.

    Attributes:
        server: Where it is.
        database: What it is called there.
    """

    server: Server
    database: str

    @property
    def dsn(self) -> str:
        """The superuser's ``postgresql://`` URL."""
        return self.server.dsn(self.database)

    def execute(self, *statements: str) -> Rows:
        """Run statements on one fresh connection in autocommit; the last one's rows."""
        return admin_execute(self.dsn, *statements)

    def prepared(self) -> list[str]:
        """The gids that are prepared in this database, oldest first."""
        rows = self.server.execute(
            "select gid from pg_prepared_xacts"
            f" where database = {_literal(self.database)} order by prepared, gid"
        )
        return [gid for (gid,) in rows]


@dataclass(frozen=True, slots=True)
class Layout:
    """2F+1 acceptors and some participants, each in a database of its own.

    Acceptor ``a1`` is on the first server, ``a2`` on the second, …; participants go round the
    servers likewise, so they share servers with acceptors.

    Attributes:
        cluster: The name for ``init``.
        acceptor_places: By acceptor's name.
        participant_places: By participant's name.
    """

    cluster: str
    acceptor_places: Mapping[str, Place] = field(repr=False)
    participant_places: Mapping[str, Place] = field(repr=False)

    @classmethod
    def create(
        cls,
        cluster: Cluster,
        *,
        participants: Sequence[str] = ("orders", "billing"),
        failures: int = 1,
        name: str = "shop",
        suffix: str = "",
    ) -> Layout:
        """Create the databases, empty.

        Args:
            cluster: Started, with at least 2F+1 servers.
            participants: Their names.
            failures: F, how many acceptors may fail.
            name: Of the paxcommit cluster.
            suffix: Appended to every database's name, to have many layouts on one cluster.

        Raises:
            ConfigurationError: There are too few servers, or a name is not allowed.
        """
        acceptors = 2 * failures + 1
        servers = cluster.servers
        if len(servers) < acceptors:
            raise ConfigurationError(
                f"F={failures} takes {acceptors} acceptors on as many servers; the cluster has "
                f"{len(servers)}"
            )
        layout = cls(
            cluster=check_name(name, "cluster"),
            acceptor_places={
                f"a{number + 1}": Place(servers[number], f"paxcommit{suffix}")
                for number in range(acceptors)
            },
            participant_places={
                check_name(participant, "participant"): Place(
                    servers[number % len(servers)], f"{participant}{suffix}"
                )
                for number, participant in enumerate(participants)
            },
        )
        layout._on_every_server(_create)
        return layout

    @property
    def acceptors(self) -> dict[str, str]:
        """The acceptors' DSNs, by name."""
        return {name: place.dsn for name, place in self.acceptor_places.items()}

    @property
    def participants(self) -> dict[str, str]:
        """The participants' DSNs, by name."""
        return {name: place.dsn for name, place in self.participant_places.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """What ``paxcommit.toml`` holds, as a dict."""
        return {
            "cluster": self.cluster,
            "acceptors": self.acceptors,
            "participants": self.participants,
        }

    def place(self, name: str) -> Place:
        """Return the database of the acceptor or participant `name`.

        Raises:
            KeyError: There is none.
        """
        return {**self.acceptor_places, **self.participant_places}[name]

    def write_config(self, path: Path) -> Path:
        """Write ``paxcommit.toml``, readable by its owner only.

        Args:
            path: The file, or an existing folder to put ``paxcommit.toml`` in.

        Returns:
            The file.
        """
        target = path / "paxcommit.toml" if path.is_dir() else path
        target.touch(mode=0o600)
        lines = [f"cluster = {json.dumps(self.cluster)}"]
        for table in ("acceptors", "participants"):
            lines += ["", f"[{table}]"]
            lines += [f"{key} = {json.dumps(dsn)}" for key, dsn in getattr(self, table).items()]
        target.write_text("\n".join(lines) + "\n")
        return target

    def drop(self) -> None:
        """Drop the databases, prepared transactions and open connections notwithstanding.

        Databases of stopped servers are left.
        """
        self._on_every_server(_drop)

    def _on_every_server(self, work: Callable[[Server, list[str]], None]) -> None:
        databases: dict[Server, list[str]] = {}
        for place in (*self.acceptor_places.values(), *self.participant_places.values()):
            databases.setdefault(place.server, []).append(place.database)
        running = {s: names for s, names in databases.items() if s.is_running}
        with ThreadPoolExecutor(len(running) or 1) as threads:
            list(threads.map(work, running.keys(), running.values()))


def _create(server: Server, databases: list[str]) -> None:
    strategy = " strategy wal_log" if server.version >= 15 else ""  # no checkpoint
    creation = "create database {} template template0" + strategy
    admin_execute(server.dsn(), *(creation.format(_identifier(name)) for name in databases))


def _drop(server: Server, databases: list[str]) -> None:
    names = ", ".join(map(_literal, databases))
    # a database with a prepared transaction cannot be dropped, not even by force
    for database, gid in server.execute(
        f"select database, gid from pg_prepared_xacts where database in ({names})"
    ):
        server.execute(f"rollback prepared {_literal(gid)}", database)
    drop = "drop database if exists {} with (force)"
    admin_execute(server.dsn(), *(drop.format(_identifier(name)) for name in databases))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
