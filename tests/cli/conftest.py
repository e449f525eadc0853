"""The commands, as a script would run them."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paxcommit.cli.main import app
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.settings import Settings
from paxcommit.testing import Cluster, Layout
from tests.cli.stage import Stage


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document, which is the last line."""
        return json.loads(self.out.splitlines()[-1])


Cli = Callable[..., Ran]

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG", "DRIVER", "JSON"):
        monkeypatch.delenv(f"PAXCOMMIT_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli() -> Cli:
    """Run ``paxcommit`` with these arguments, in this process."""

    def run(*arguments: str | os.PathLike[str]) -> Ran:
        result = CliRunner().invoke(app, [os.fspath(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def config(layout: Layout, tmp_path: Path) -> Path:
    """``paxcommit.toml`` for fresh databases, in the working directory of the test."""
    return layout.write_config(tmp_path)


@pytest.fixture(scope="session")
def initialised(cluster: Cluster) -> Iterator[Layout]:
    """Databases after ``init``, for all tests that do not harm the schemas; see `ready`."""
    layout = Layout.create(cluster, suffix=f"_cli_{os.getpid()}")
    settings = Settings.load(layout.settings)
    asyncio.run(initialise(settings, choose_async()))
    create = "create table account (id int primary key, balance int)"
    for place in layout.participant_places.values():
        place.execute(create, "insert into account values (1, 100)")
    yield layout
    layout.drop()


@pytest.fixture
def ready(initialised: Layout, tmp_path: Path) -> Iterator[Path]:
    """``paxcommit.toml`` for `initialised`, which is as good as new afterwards."""
    yield initialised.write_config(tmp_path)
    for place in initialised.participant_places.values():
        gids = [gid.replace("'", "''") for gid in place.prepared()]
        place.execute(
            *(f"rollback prepared '{gid}'" for gid in gids),
            "update account set balance = 100",
            "truncate paxcommit.damage, paxcommit.branch",
        )


@pytest.fixture
def closed_port() -> int:
    """A TCP port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def login(cluster: Cluster) -> Iterator[str]:
    """A role without any privileges that may log in to every server."""
    name = f"plain_{os.getpid()}_{next(_numbers)}"
    for server in cluster.servers:
        server.execute(f"create role {name} login")
    yield name
    for server in cluster.servers:
        for (database,) in server.execute("select datname from pg_database where datallowconn"):
            server.execute(f"drop owned by {name}", database)
        server.execute(f"drop role {name}")


@pytest.fixture
def stage(ready: Path, initialised: Layout) -> Stage:
    """A cluster after ``init``, to be put into any state."""
    return Stage(initialised)


@pytest.fixture
def stop_acceptors(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> Callable[..., None]:
    """As if these acceptors' servers were down: the environment names ports without servers."""

    def stop(*names: str) -> None:
        for offset, name in enumerate(names):
            dsn = f"postgresql://127.0.0.{offset + 2}:{closed_port}/witness"
            monkeypatch.setenv(f"PAXCOMMIT_ACCEPTORS__{name.upper()}", dsn)

    return stop
