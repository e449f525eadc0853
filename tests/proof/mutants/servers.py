"""Servers that outlive one mutant: most tests only want databases of their own on some servers.

To start three servers takes longer than nearly every test.  So each line of work keeps three, lends
them to one run of pytest after the other (`witness` puts them in the place of the fixture
``cluster``), and takes away in between what a mutant left there.
"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import NoReturn

from paxcommit.errors import UsageError
from paxcommit.testing import Cluster, Server
from paxcommit.testing.server import Setting, StopMode

__all__ = ["VARIABLE", "Borrowed", "Lender", "borrow"]

VARIABLE = "MUTANTS_SERVERS"

_DATABASES = (
    "SELECT datname FROM pg_database WHERE datname NOT IN ('template0', 'template1', 'postgres')"
)
_PREPARED = "SELECT gid, database FROM pg_prepared_xacts"
_ROLES = "SELECT rolname FROM pg_roles WHERE oid >= 16384 AND NOT rolsuper"


class Lender:
    """Three servers, started when they are first wanted."""

    def __init__(self) -> None:
        self._cluster: Cluster | None = None

    def address(self) -> str:
        """What `borrow` needs to know."""
        if self._cluster is None:
            self._cluster = Cluster(3)
            self._cluster.start()
        return json.dumps(
            [[s.name, s.host, s.port, s.password, s.version] for s in self._cluster.servers]
        )

    def tidy(self) -> None:
        """Take away databases and roles; if one does not go, all servers do."""
        if self._cluster is None:
            return
        try:
            for server in self._cluster.servers:
                _tidy(server)
        except Exception:  # noqa: BLE001 - whatever it is, new servers do not have it
            self.close()

    def close(self) -> None:
        """End the servers."""
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()


def _tidy(server: Server) -> None:
    for gid, database in server.execute(_PREPARED):
        server.execute("ROLLBACK PREPARED '{}'".format(gid.replace("'", "''")), database)
    for (name,) in server.execute(_DATABASES):
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    for (name,) in server.execute(_ROLES):
        server.execute(f'DROP ROLE "{name}"')


class Borrowed(Server):
    """A server that somebody else started, and nobody here may stop or reconfigure."""

    def __init__(self, name: str, host: str, port: int, password: str | None, version: int) -> None:
        self.name, self.host, self.port = name, host, port
        self.password, self.version = password, version

    @property
    def data_dir(self) -> PurePath:
        """Not ours."""
        _not_ours()

    @property
    def pid(self) -> int:
        """Not ours."""
        _not_ours()

    @property
    def is_running(self) -> bool:
        """Yes."""
        return True

    def launch(self) -> None:
        """Not ours."""
        _not_ours()

    def await_ready(self) -> None:
        """Not ours."""
        _not_ours()

    def stop(self, mode: StopMode = "fast") -> None:
        """Not ours."""
        _not_ours()

    def kill(self) -> None:
        """Not ours."""
        _not_ours()

    def configure(self, **settings: Setting | None) -> None:
        """Not ours."""
        _not_ours()

    def log(self) -> str:
        """Not ours."""
        _not_ours()

    def copy_data_dir(self) -> PurePath:
        """Not ours."""
        _not_ours()

    def restore(self, copy: PurePath) -> None:
        """Not ours."""
        _not_ours()

    def close(self) -> None:
        """Nothing to do."""


def borrow(address: str) -> Cluster:
    """A cluster that is started already, and is not to be closed here."""
    cluster = Cluster(3)
    cluster.servers = tuple(Borrowed(*each) for each in json.loads(address))
    return cluster


def _not_ours() -> NoReturn:
    raise UsageError("these servers are lent: a test may neither stop nor reconfigure them")
