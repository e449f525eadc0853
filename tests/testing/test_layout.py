"""A layout is fresh databases on a cluster, and the settings that name them."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from paxcommit.errors import ConfigurationError, InvalidName
from paxcommit.testing import Cluster, Layout, Place

Make = Callable[..., Layout]


def test_the_configuration_is_what_the_layout_says(layout: Layout, tmp_path: Path) -> None:
    path = layout.write_config(tmp_path)
    assert path == tmp_path / "paxcommit.toml"
    assert tomllib.loads(path.read_text()) == layout.settings
    assert list(layout.acceptors) == ["a1", "a2", "a3"]
    assert list(layout.participants) == ["orders", "billing"]


def test_the_configuration_is_private(layout: Layout, tmp_path: Path) -> None:
    """DSNs carry passwords (trap 34)."""
    path = layout.write_config(tmp_path / "other.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "postgresql://" not in repr(layout)


def test_acceptors_are_on_different_servers(layout: Layout, cluster: Cluster) -> None:
    assert tuple(place.server for place in layout.acceptor_places.values()) == cluster.servers
    for name in ("a1", "orders", "billing"):
        place = layout.place(name)
        assert place.execute("select current_database()") == [(place.database,)]


def test_more_participants_than_servers(make_layout: Make, cluster: Cluster) -> None:
    layout = make_layout(participants=["p1", "p2", "p3", "p4"], failures=0)
    assert list(layout.acceptors) == ["a1"]
    assert layout.place("p4").server is layout.place("p1").server is cluster.servers[0]
    assert layout.place("p4").database != layout.place("p1").database


def test_two_failures_take_five_servers(make_layout: Make) -> None:
    with pytest.raises(ConfigurationError, match="F=2 takes 5 acceptors"):
        make_layout(failures=2)


def test_names_are_checked(make_layout: Make) -> None:
    with pytest.raises(InvalidName):
        make_layout(participants=["Orders!"])


def test_layouts_do_not_share_databases(make_layout: Make) -> None:
    one, two = make_layout(), make_layout()
    one.place("orders").execute("create table t ()")
    assert two.place("orders").execute("select to_regclass('t')") == [(None,)]


def test_drop_does_not_mind_what_is_left(cluster: Cluster) -> None:
    """Not even FORCE drops a database with a prepared transaction in it."""
    layout = Layout.create(cluster, suffix="_left", failures=0)
    orders = layout.place("orders")
    orders.execute("create table t ()", "begin", "insert into t default values", PREPARE)
    assert orders.prepared() == ["left behind's"]
    layout.drop()
    left = "select count(*)::int from pg_database where datname like '%\\_left'"
    assert orders.server.execute(left) == [(0,)]


PREPARE = "prepare transaction 'left behind''s'"


def test_drop_leaves_stopped_servers_alone(fresh_cluster: Callable[..., Cluster]) -> None:
    cluster = fresh_cluster(2)
    layout = Layout.create(cluster, failures=0)
    cluster.servers[1].kill()
    layout.drop()
    cluster.servers[1].start()
    assert layout.place("billing").execute("select 1") == [(1,)]
    assert isinstance(layout.place("billing"), Place)
