"""Layouts with ``paxcommit init`` done, and databases that cannot be reached for a while."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.settings import Settings
from paxcommit.testing.cluster import Cluster
from paxcommit.testing.layout import Layout
from paxcommit.testing.plugin.recovering import on_a_thread

__all__ = ["create_layout", "unreachable"]

_numbers = itertools.count(1)


def create_layout(cluster: Cluster, **options: Any) -> Layout:
    """Create fresh databases on a cluster's servers, and do there what ``paxcommit init`` does.

    Args:
        cluster: Started.
        options: See `Layout.create`; without a ``suffix``, one that nobody else has.

    Raises:
        ConfigurationError: See `Layout.create`.
        DriverError: No driver with asyncio is installed.
    """
    options = {"suffix": f"_{os.getpid()}_{next(_numbers)}", **options}
    layout = Layout.create(cluster, **options)
    settings = Settings(**layout.settings)
    on_a_thread(lambda: initialise(settings, choose_async()))
    return layout


@contextmanager
def unreachable(layout: Layout, *names: str) -> Iterator[None]:
    """Have databases of acceptors and participants cut all connections and refuse new ones.

    The servers go on, so that other tests on them notice nothing.

    Args:
        layout: Whose.
        names: Of acceptors and participants, e.g. ``"a2", "a3", "billing"``.
    """
    places = [layout.place(name) for name in names]

    def allow(yes: str) -> None:
        for place in places:
            database = place.database.replace('"', '""')
            place.server.execute(f'alter database "{database}" with allow_connections {yes}')

    try:
        allow("false")
        for place in places:
            literal = place.database.replace("'", "''")
            place.server.execute(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity"
                f" where datname = '{literal}'"
            )
        yield
    finally:
        allow("true")
