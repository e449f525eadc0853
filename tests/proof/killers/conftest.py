"""The database that `tests/sql` works in, and one whose standby never answers."""

from __future__ import annotations

import pytest

from tests.sql.conftest import home, home_on, make_home, own_home, role, shared_home

__all__ = ["home", "home_on", "own_home", "role", "shared_home"]

_KEPT = ("acceptor", "epoch", "peer_mark", "participant", "participant_epoch")


@pytest.fixture(scope="module")
def lonely_home(module_cluster):
    servers = module_cluster(1)
    home = make_home(servers)
    for table in _KEPT:
        home.admin(f"CREATE TABLE kept_{table} AS TABLE paxcommit.{table}")
    servers.servers[0].configure(synchronous_standby_names="nobody_here")
    yield home
    home.renew_connections(reconnect=False)


@pytest.fixture
def lonely(lonely_home):
    """A home whose standby never answers.  Its `admin` does not wait for it."""
    lonely_home.renew_connections()
    lonely_home.admin("SET synchronous_commit = local")
    lonely_home.admin("SET lock_timeout = '5s'")  # what a failed test left must not hang the next
    yield lonely_home
    for gid in lonely_home.place.prepared():
        lonely_home.admin(f"ROLLBACK PREPARED '{gid}'")
    for table in _KEPT:
        lonely_home.admin(f"DELETE FROM paxcommit.{table}")
        lonely_home.admin(f"INSERT INTO paxcommit.{table} SELECT * FROM kept_{table}")
