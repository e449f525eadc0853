"""The pytest plugin: databases for each test, failpoints, and the judgement afterwards.

It is loaded in every run of everybody who has paxcommit installed, so it imports nothing but pytest
until a fixture is used.  ``docs/testing.md`` says how it is used.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from paxcommit import Resolved, Settings
    from paxcommit.testing import Atomicity, Cluster, Failpoints, Layout
    from paxcommit.testing.plugin.supply import Supply

__all__ = [
    "assert_atomic",
    "assert_atomic_async",
    "failpoints",
    "paxcommit_cluster",
    "paxcommit_config",
    "paxcommit_environment",
    "paxcommit_layout",
    "paxcommit_make_layout",
    "paxcommit_recovery",
    "paxcommit_recovery_async",
    "paxcommit_settings",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_call",
]

_MARKER = (
    "paxcommit(participants=['orders', 'billing'], failures=1): the participants of this test's "
    "paxcommit_layout, and how many of its 2F+1 acceptors may fail"
)
_KEPT = {"PAXCOMMIT_TEST_POSTGRES", "PAXCOMMIT_TEST_IMAGE"}
_ARMED: pytest.StashKey[Failpoints] = pytest.StashKey()

# --- hooks --------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our settings to pytest's."""
    parser.addini(
        "paxcommit_participants", "participants of paxcommit_layout", "args", ["orders", "billing"]
    )
    parser.addini("paxcommit_failures", "F: of 2F+1 acceptors, how many may fail", default="1")
    parser.addini(
        "paxcommit_without_postgres",
        "what becomes of tests where no PostgreSQL can be started: fail or skip",
        default="fail",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add our marker to pytest's."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """After a test that passed: what it armed must have been reached."""
    armed = item.stash.get(_ARMED, None)
    if armed is not None and (missed := armed.missed()):
        pytest.fail(missed, pytrace=False)


# --- databases ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _paxcommit_supply(pytestconfig: pytest.Config) -> Iterator[Supply]:
    from paxcommit.errors import ClusterError, ConfigurationError
    from paxcommit.testing import Cluster
    from paxcommit.testing.plugin.supply import Supply

    missing = _choice(pytestconfig, "paxcommit_without_postgres", "fail", "skip")

    def make(servers: int) -> Cluster:
        cluster = Cluster(servers)
        try:
            cluster.start()
        except (ConfigurationError, ClusterError) as error:
            reason = f"no PostgreSQL servers for this test: {error}"
        else:
            return cluster
        if missing == "skip":
            pytest.skip(reason)
        pytest.fail(reason, pytrace=False)

    supply = Supply(make)
    yield supply
    supply.close()


def _choice(config: pytest.Config, name: str, *choices: str) -> str:
    choice = str(config.getini(name))
    if choice not in choices:
        raise pytest.UsageError(f"{name} = {choice}: say {' or '.join(choices)}")
    return choice


def _failures(config: pytest.Config) -> int:
    failures = str(config.getini("paxcommit_failures"))
    if not failures.isdecimal():
        raise pytest.UsageError(f"paxcommit_failures = {failures}: say a number")
    return int(failures)


@pytest.fixture(scope="session")
def paxcommit_cluster(_paxcommit_supply: Supply, pytestconfig: pytest.Config) -> Cluster:
    """2F+1 real PostgreSQL servers for the whole run (with pytest-xdist: for each worker).

    They are shared by all tests: do not stop them.  A test that has to gets servers of its own by
    ``with paxcommit.testing.Cluster(3) as cluster``.
    """
    return _paxcommit_supply.cluster(_failures(pytestconfig))


@pytest.fixture(scope="session")
def paxcommit_make_layout(
    _paxcommit_supply: Supply, pytestconfig: pytest.Config
) -> Callable[..., Layout]:
    """Make layouts for a scope of your own: fresh databases with ``paxcommit init`` done.

    ``paxcommit_make_layout(participants=[...], failures=1)``; whatever is left out is as in the
    ini file.  They last until the end of the run, or until ``layout.drop()``.
    """

    def make(**options: Any) -> Layout:
        return _paxcommit_supply.layout(**{**_defaults(pytestconfig), **options})

    return make


def _defaults(config: pytest.Config) -> dict[str, Any]:
    return {
        "participants": tuple(config.getini("paxcommit_participants")),
        "failures": _failures(config),
    }


@pytest.fixture
def paxcommit_layout(request: pytest.FixtureRequest, _paxcommit_supply: Supply) -> Iterator[Layout]:
    """Fresh databases for this test, with ``paxcommit init`` done: 2F+1 acceptors, participants.

    Create your tables by ``paxcommit_layout.place("orders").execute(...)``.  Who takes part says
    ``@pytest.mark.paxcommit(participants=[...], failures=1)``, or else the ini file.
    """
    options = _defaults(request.config)
    marker = request.node.get_closest_marker("paxcommit")
    if marker is not None:
        if marker.args or not marker.kwargs.keys() <= options.keys():
            raise pytest.UsageError(f"the marker is {_MARKER.partition(':')[0]}")
        options.update(marker.kwargs)
    layout = _paxcommit_supply.layout(**options)
    yield layout
    _paxcommit_supply.give_back(layout)


# --- settings -----------------------------------------------------------------------------------


@pytest.fixture
def paxcommit_settings(paxcommit_layout: Layout) -> Settings:
    """The settings of `paxcommit_layout`, to open a coordinator with."""
    from paxcommit import Settings

    return Settings(**paxcommit_layout.settings)


@pytest.fixture
def paxcommit_config(
    paxcommit_layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A ``paxcommit.toml`` for `paxcommit_layout`.

    Variables that would override it, such as ``PAXCOMMIT_ACCEPTORS__A1``, are unset for this test.
    """
    for name in list(os.environ):
        if name.startswith("PAXCOMMIT_") and name not in _KEPT:
            monkeypatch.delenv(name)
    return paxcommit_layout.write_config(tmp_path / "paxcommit.toml")


@pytest.fixture
def paxcommit_environment(
    paxcommit_config: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, str]:
    """Have ``PAXCOMMIT_CONFIG`` name `paxcommit_config` for this test, also to subprocesses.

    Code that opens a coordinator without saying where then finds this test's databases.
    """
    monkeypatch.setenv("PAXCOMMIT_CONFIG", str(paxcommit_config))
    return {"PAXCOMMIT_CONFIG": str(paxcommit_config)}


# --- breaking in, and judging -------------------------------------------------------------------


@pytest.fixture
def failpoints(request: pytest.FixtureRequest) -> Iterator[Failpoints]:
    """Kill, stop, raise, call or record at named steps of commit and recovery, until the test ends.

    See `paxcommit.testing.Failpoints`.  A step that was armed and never reached fails the test.
    """
    from paxcommit.testing import Failpoints

    names: dict[str, list[str]] = {}
    if "paxcommit_layout" in request.fixturenames:
        layout = request.getfixturevalue("paxcommit_layout")
        names = {"participants": [*layout.participants], "acceptors": [*layout.acceptors]}
    with Failpoints(**names) as armed:
        request.node.stash[_ARMED] = armed
        yield armed


@pytest.fixture
def paxcommit_recovery(paxcommit_layout: Layout) -> Callable[..., tuple[Resolved, ...]]:
    """`paxcommit.testing.recover` on `paxcommit_layout`: run recovery until nothing is prepared."""
    from paxcommit.testing import recover

    return functools.partial(recover, paxcommit_layout)


@pytest.fixture
def paxcommit_recovery_async(
    paxcommit_layout: Layout,
) -> Callable[..., Awaitable[tuple[Resolved, ...]]]:
    """`paxcommit_recovery`, for asyncio."""
    from paxcommit.testing import recover_async

    return functools.partial(recover_async, paxcommit_layout)


@pytest.fixture
def assert_atomic(paxcommit_layout: Layout) -> Callable[..., Atomicity]:
    """`paxcommit.testing.assert_atomic` on `paxcommit_layout`: all or nothing, after recovery."""
    from paxcommit.testing import assert_atomic

    return functools.partial(assert_atomic, paxcommit_layout)


@pytest.fixture
def assert_atomic_async(paxcommit_layout: Layout) -> Callable[..., Awaitable[Atomicity]]:
    """`assert_atomic`, for asyncio."""
    from paxcommit.testing import assert_atomic_async

    return functools.partial(assert_atomic_async, paxcommit_layout)
