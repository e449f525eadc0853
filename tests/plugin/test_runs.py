"""Whole runs of pytest with the plugin, as its users have them: in processes of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from paxcommit import testing
from paxcommit.testing import Cluster, Server, backends
from paxcommit.testing.plugin import supply

pytest_plugins = ["pytester"]

INI = """
[pytest]
filterwarnings = error
addopts = --strict-markers --strict-config -p no:cacheprovider
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write a suite of one file, to be run strictly."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def suite(tests: str, *, conftest: str = "", ini: str = "") -> None:
        pytester.makeini(INI + ini)
        pytester.makeconftest(conftest)
        pytester.makepyfile(tests)

    return suite


def test_a_run_that_does_not_use_it_pays_nothing(
    suite: Callable[..., None], pytester: pytest.Pytester
) -> None:
    suite(
        "def test_nothing(): pass",
        conftest="""
        import sys
        def pytest_sessionfinish():
            print("\\nhere:", *sorted(m for m in sys.modules if m.startswith("paxcommit")))
        """,
    )
    told = pytester.runpytest_subprocess()
    told.assert_outcomes(passed=1)
    told.stdout.fnmatch_lines(["here: paxcommit paxcommit.testing paxcommit.testing.pytest_plugin"])


@pytest.mark.parametrize(
    ("ini", "outcome"),
    [("", "errors"), ("fail", "errors"), ("skip", "skipped"), ("ignore", "errors")],
)
def test_without_postgres_tests_say_what_to_install(
    ini: str,
    outcome: str,
    suite: Callable[..., None],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "_find", lambda *_: None)
    monkeypatch.delenv(backends.BACKEND_VARIABLE, raising=False)
    suite("def test_it(paxcommit_layout): pass", ini=ini and f"paxcommit_without_postgres = {ini}")
    told = pytester.runpytest_inprocess("-rs")
    told.assert_outcomes(**{outcome: 1})
    if ini == "ignore":
        told.stdout.fnmatch_lines(["*paxcommit_without_postgres = ignore: say fail or skip"])
    else:
        line = "no PostgreSQL servers for this test: *pip install 'paxcommit?testing?'*"
        told.stdout.fnmatch_lines([f"*{line}" if ini == "skip" else line])
        assert "another exception" not in told.stdout.str()


FEATURES = """
import asyncio
import os
import unittest

import anyio
import pytest
from paxcommit import AsyncCoordinator, Coordinator, Settings
from paxcommit.failpoints import hit

seen = []


@pytest.mark.parametrize("n", range(3))
def test_every_test_has_databases_and_acceptors_of_its_own(n, paxcommit_layout):
    [[digest]] = paxcommit_layout.place("a1").execute("select digest from paxcommit.epoch")
    names = [place.database for place in paxcommit_layout.participant_places.values()]
    assert not {digest, *names} & {*seen}
    seen.extend([digest, *names])
    for name in ("orders", "billing"):
        paxcommit_layout.place(name).execute("create table note ()")


@pytest.mark.paxcommit(participants=["stock"], failures=0)
class TestMarked:
    def test_the_marker(self, paxcommit_layout, paxcommit_settings):
        assert [*paxcommit_layout.participants] == [*paxcommit_settings.participants] == ["stock"]
        assert [*paxcommit_layout.acceptors] == ["a1"]

    @pytest.mark.paxcommit(participants=["a", "b", "c"])
    def test_the_nearest_marker(self, paxcommit_layout):
        assert [*paxcommit_layout.participants] == ["a", "b", "c"]
        assert [*paxcommit_layout.acceptors] == ["a1", "a2", "a3"]


@pytest.mark.paxcommit(participant=["stock"])
def test_error_for_a_misspelt_marker(paxcommit_layout):
    pass


def test_the_environment_is_this_tests(paxcommit_environment):
    assert "PAXCOMMIT_ACCEPTORS__A1" not in os.environ
    assert os.environ["PAXCOMMIT_TEST_POSTGRES"]
    assert [*Settings.load().participants] == ["orders", "billing"]


def test_the_environment_comes_back():
    assert os.environ["PAXCOMMIT_ACCEPTORS__A1"] == "postgresql://elsewhere/x"
    assert "PAXCOMMIT_CONFIG" not in os.environ


@pytest.fixture(scope="module")
def long_lived(paxcommit_make_layout, paxcommit_cluster):
    layout = paxcommit_make_layout(participants=["ledger"])
    assert layout.place("ledger").server in paxcommit_cluster.servers
    return layout


@pytest.mark.parametrize("n", range(2))
def test_a_layout_for_the_module(n, long_lived):
    long_lived.place("ledger").execute("create table if not exists note ()")
    seen.append(long_lived.place("ledger").database)
    assert n == 0 or seen[-2] == seen[-1]


async def write(settings, driver):
    async with AsyncCoordinator.open(settings, driver=driver) as coordinator:
        async with coordinator.transaction() as tx:
            for name in ("orders", "billing"):
                await (await tx.connection(name)).execute("create table note ()")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_with_anyio(paxcommit_settings, failpoints, assert_atomic_async):
    reached = failpoints.record("tell:*")
    await write(paxcommit_settings, "asyncpg")
    assert len((await assert_atomic_async()).outcomes) == 1
    assert reached == ["tell:committed"]


@pytest.mark.asyncio
async def test_with_pytest_asyncio(paxcommit_settings, assert_atomic_async, assert_atomic):
    await write(paxcommit_settings, "psycopg")
    assert len((await assert_atomic_async()).outcomes) == 1
    assert len((await asyncio.to_thread(assert_atomic)).outcomes) == 1


def test_without_either(paxcommit_settings, assert_atomic):
    anyio.run(write, paxcommit_settings, "asyncpg")
    assert len(assert_atomic().outcomes) == 1


class TestUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _take(self, failpoints):
        self.failpoints = failpoints

    def test_in_a_class(self):
        self.failpoints.raise_at("tell:open", ValueError)
        with self.assertRaises(ValueError):
            hit("tell", "open")

    def test_failed_in_a_class(self):
        self.failpoints.raise_at("tell:open", ValueError)


def test_failed_for_what_was_never_reached(failpoints):
    failpoints.kill_at("tell:committed")


def test_all_is_disarmed():
    from paxcommit import failpoints

    assert failpoints._hook is None


def test_what_is_optional_need_not_be_reached(failpoints):
    failpoints.kill_at("tell:committed", optional=True)


def test_failed_by_its_own_error_first(failpoints):
    failpoints.kill_at("tell:committed")
    raise RuntimeError("its own")


def test_failed_by_what_is_half_there(paxcommit_layout, paxcommit_settings, assert_atomic):
    with Coordinator.open(paxcommit_settings) as coordinator, coordinator.transaction() as tx:
        for name in ("orders", "billing"):
            tx.connection(name).execute("create table note ()")
    paxcommit_layout.place("orders").execute("insert into note default values")
    assert_atomic(tx.id, dict.fromkeys(("orders", "billing"), "select count(*) from note"))
"""


class Shared:
    """The servers of our own run, in the place of a `Cluster` that would start some."""

    def __init__(self, servers: tuple[Server, ...]) -> None:
        self.servers = servers

    def start(self) -> None:
        assert len(self.servers) == 3

    def close(self) -> None:
        pass


@pytest.mark.timeout(300)
def test_everything_in_one_run(
    suite: Callable[..., None],
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    cluster: Cluster,
) -> None:
    monkeypatch.setattr(testing, "Cluster", lambda n: Shared(cluster.servers[:n]))
    monkeypatch.setattr(supply, "_TEMPLATE", "paxcommit_template_of_a_run")
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS__A1", "postgresql://elsewhere/x")
    monkeypatch.setenv("PAXCOMMIT_TEST_POSTGRES", "embedded")
    suite(FEATURES)
    told = pytester.runpytest_inprocess("--tb=short")
    lines = told.stdout.str()
    told.assert_outcomes(passed=15, failed=4, errors=1)
    told.stdout.fnmatch_lines_random(
        [
            "E*UsageError: the marker is paxcommit(participants=?'orders', 'billing'?, failures=1)",
            "never reached: kill_at('tell:committed'); * No step was reached at all.",
            "never reached: raise_at('tell:open'); * No step was reached at all.",
            "E   RuntimeError: its own",
            "E     - the effects are at orders, and not at billing",
            "ERROR *test_error_for_a_misspelt_marker*",
            "FAILED *test_failed_for_what_was_never_reached*",
        ]
    )
    failed = [line for line in lines.splitlines() if line.startswith("FAILED")]
    assert all("::test_failed_" in line for line in failed), failed
    assert "thread.py" not in lines  # a failed verdict shows the test, not what is behind it


@pytest.mark.timeout(300)
def test_with_xdist_each_worker_has_servers_of_its_own(
    suite: Callable[..., None], pytester: pytest.Pytester
) -> None:
    suite(
        """
        from pathlib import Path

        def test_it(paxcommit_layout, worker_id):
            place = paxcommit_layout.place("orders")
            assert place.execute("select 1") == [(1,)]
            Path(f"port.{worker_id}").write_text(str(place.server.port))
        """,
        ini="paxcommit_failures = 0",
    )
    told = pytester.runpytest_subprocess("--tx=2*popen", "--dist=each")
    told.assert_outcomes(passed=2)
    ports = [path.read_text() for path in pytester.path.glob("port.*")]
    assert len({*ports}) == 2
