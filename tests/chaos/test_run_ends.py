"""However a run of chaos ends, nothing of it is left: no process, however stopped, and no file."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)

_SECONDS = 60

RUN = """
from paxcommit.testing.chaos.plan import Plan
from paxcommit.testing.chaos.run import run
from paxcommit.testing.warden import warden

kinds = frozenset({"pause-coordinator", "slow-disk"})
print("Warden", warden().pid, flush=True)

def write(event):
    print(type(event).__name__, getattr(event, "pid", 0), flush=True)

run(Plan(600.0, 1, kinds=kinds), write)
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files that every account may enter."""
    path = Path(tempfile.mkdtemp(prefix="chaos-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def left_behind(scratch: Path) -> list[str]:
    """Processes that got `scratch` as their folder, or work in it, and what is in it."""
    left = [path.name for path in scratch.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mentioned = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if str(scratch).encode() in mentioned:
            left.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return left


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_amid_faults(scratch: Path, how: signal.Signals) -> None:
    with (
        ExitStack() as stack,
        subprocess.Popen(
            [sys.executable, "-c", RUN],
            env={**os.environ, "TMPDIR": str(scratch)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        stack.callback(process.kill)
        assert process.stdout is not None
        handles: list[int] = []
        faults = 0
        while faults < 2:
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            name, pid = line.split()
            if name in ("Warden", "ProcessStarted"):
                handles.append(os.pidfd_open(int(pid)))
                stack.callback(os.close, handles[-1])
            faults += name == "FaultBegun"
        assert left_behind(scratch)
        process.send_signal(how)
        process.communicate()
        assert process.returncode == -how  # a KeyboardInterrupt that nobody caught ends as SIGINT
        for handle in handles:
            assert select.select([handle], [], [], _SECONDS)[0]
        assert not left_behind(scratch)
