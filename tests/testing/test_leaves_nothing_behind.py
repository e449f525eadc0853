"""However the process that started them ends, the servers and their files go with it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from paxcommit.testing import Cluster, Server

_SECONDS = 30

START = """
import json, os, signal, sys
from paxcommit.testing import Cluster
from paxcommit.testing.warden import warden

def tell(cluster, **more):
    print(json.dumps({
        "pids": [server.pid for server in cluster.servers],
        "warden": warden().pid,
        "folder": str(cluster.servers[0].data_dir.parent),
        **more,
    }), flush=True)
"""


class Watched:
    """A subprocess that started servers, and handles on everything that must end with it."""

    def __init__(self, program: str, stack: ExitStack) -> None:
        self.process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", START + program],
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        stack.callback(self.process.kill)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.told: dict[str, Any] = json.loads(line)
        self.warden = self._open(self.told["warden"], stack)
        self.servers = [self._open(pid, stack) for pid in self.told["pids"]]

    @staticmethod
    def _open(pid: int, stack: ExitStack) -> int:
        handle = os.pidfd_open(pid)
        stack.callback(os.close, handle)
        return handle

    def nothing_is_left(self) -> bool:
        assert select.select([self.warden], [], [], _SECONDS)[0], "the warden is left"
        ended = select.select(self.servers, [], [], 0)[0]
        return ended == self.servers and not Path(self.told["folder"]).exists()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


HOLD = """
with Cluster(2) as cluster:
    tell(cluster)
    sys.stdin.read()
"""


def test_after_the_block(stack: ExitStack) -> None:
    watched = Watched(HOLD, stack)
    assert watched.process.communicate("", timeout=_SECONDS)[1] == ""
    assert watched.process.returncode == 0
    assert watched.nothing_is_left()


def test_after_an_exception() -> None:
    cluster = Cluster(1)
    servers: list[Server] = []

    def fail() -> None:
        with cluster:
            servers.extend(cluster.servers)
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert not servers[0].is_running
    assert not cluster.servers
    assert not Path(servers[0].data_dir).parent.exists()


def test_after_a_failed_start() -> None:
    cluster = Cluster(1, settings={"max_connections": "many"})
    with pytest.raises(Exception, match="max_connections"):
        cluster.start()
    assert not cluster.servers
    assert cluster._folder is None


def test_after_exit_without_close(stack: ExitStack) -> None:
    watched = Watched("cluster = Cluster(1)\ncluster.start()\ntell(cluster)\n", stack)
    assert watched.process.wait(_SECONDS) == 0
    assert watched.nothing_is_left()


def test_after_ctrl_c(stack: ExitStack) -> None:
    watched = Watched(HOLD, stack)
    os.killpg(watched.process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in watched.process.communicate(timeout=_SECONDS)[1]
    assert watched.nothing_is_left()


CLEAN_UP = """
with Cluster(1) as cluster:
    try:
        tell(cluster)
        sys.stdin.read()
    except KeyboardInterrupt:
        print(cluster.servers[0].execute("select 1"))
"""


def test_ctrl_c_leaves_the_servers_to_us(stack: ExitStack) -> None:
    """It goes to the whole foreground group, but whoever cleans up may need the servers."""
    watched = Watched(CLEAN_UP, stack)
    os.killpg(watched.process.pid, signal.SIGINT)
    assert watched.process.communicate(timeout=_SECONDS)[0] == "[(1,)]\n"
    assert watched.nothing_is_left()


def test_after_sigkill_of_the_parent(stack: ExitStack) -> None:
    """Of its whole process group even, as impatient supervisors do."""
    watched = Watched(HOLD, stack)
    os.killpg(watched.process.pid, signal.SIGKILL)
    assert watched.nothing_is_left()


def test_after_sigkill_during_initdb(stack: ExitStack) -> None:
    watched = Watched(
        """
from paxcommit.testing.local import LocalServer
def told(self):
    print(json.dumps({"pids": [self._initdb.pid], "warden": warden().pid,
                      "folder": str(self.data_dir.parent)}), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
LocalServer.launch = told
Cluster(1).start()
""",
        stack,
    )
    assert watched.nothing_is_left()


FORK = """
with Cluster(1) as cluster:
    child = os.fork()
    if child == 0:
        {child}
    tell(cluster, child=child)
    {parent}
"""


def test_a_forked_child_takes_nothing_along(stack: ExitStack) -> None:
    """Tests fork from a warm parent (trap 37b): the child's exit must not end the servers."""
    watched = Watched(
        FORK.format(
            child="sys.exit(0)",
            parent="os.waitpid(child, 0); print(cluster.servers[0].execute('select 1'))",
        ),
        stack,
    )
    out, err = watched.process.communicate(timeout=_SECONDS)
    assert (out, err) == ("[(1,)]\n", "")
    assert watched.nothing_is_left()


def test_a_forked_child_does_not_keep_the_servers(stack: ExitStack) -> None:
    """The child inherits the pipe to the warden, whose end is the parent's death."""
    watched = Watched(FORK.format(child="signal.pause()", parent="signal.pause()"), stack)
    stack.callback(os.kill, watched.told["child"], signal.SIGKILL)
    watched.process.kill()
    assert watched.nothing_is_left()


CONTAINER = """
cluster = Cluster(1, backend="containers")
cluster.start()
print(json.dumps({"pids": [], "warden": warden().pid, "folder": "/nowhere",
                  "container": cluster.servers[0]._container.id}), flush=True)
"""


@pytest.mark.containers
def test_after_exit_no_container_is_left(stack: ExitStack) -> None:
    import docker
    import docker.errors

    watched = Watched(CONTAINER, stack)
    assert watched.process.wait(_SECONDS) == 0
    engine = docker.from_env()
    stack.callback(engine.close)
    with pytest.raises(docker.errors.NotFound):
        engine.containers.get(watched.told["container"])
