"""Fixtures for every test that needs real PostgreSQL servers."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from paxcommit.testing import Cluster, Layout

_numbers = itertools.count(1)

# Whoever started us in the background may have told us, and so every child, to ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that need a Docker engine to those who ask for them."""
    if "containers" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="needs a Docker engine; ask for it with -m containers")
    for item in items:
        if item.get_closest_marker("containers"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three servers for the whole run.  Never stop or reconfigure them: see `fresh_cluster`."""
    with Cluster(3) as servers:
        yield servers


@pytest.fixture
def make_layout(request: pytest.FixtureRequest) -> Iterator[Callable[..., Layout]]:
    """Make layouts of fresh databases, dropped after the test.

    ``make_layout(cluster=None, **arguments_of_Layout_create)``; without a cluster, the shared one.
    """
    layouts: list[Layout] = []

    def make(cluster: Cluster | None = None, **arguments: Any) -> Layout:
        servers = cluster or request.getfixturevalue("cluster")
        suffix = f"_{os.getpid()}_{next(_numbers)}"
        layouts.append(Layout.create(servers, suffix=suffix, **arguments))
        return layouts[-1]

    yield make
    for layout in layouts:
        layout.drop()


@pytest.fixture
def layout(make_layout: Callable[..., Layout]) -> Layout:
    """Fresh databases on the shared servers: acceptors a1, a2, a3; participants orders, billing."""
    return make_layout()


@pytest.fixture
def fresh_cluster() -> Iterator[Callable[..., Cluster]]:
    """Start clusters of the test's own, to stop, kill and reconfigure; arguments of `Cluster`."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Cluster(*args, **kwargs))


@pytest.fixture(scope="module")
def module_cluster() -> Iterator[Callable[..., Cluster]]:
    """As `fresh_cluster`, but the clusters last as long as the module."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(Cluster(*args, **kwargs))
