"""The demo itself, short but real, through the command line; no time is asserted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from paxcommit.cli.main import app; app()", "demo"]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for temporary files that every account may enter."""
    path = Path(tempfile.mkdtemp(prefix="demo-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


def environment(scratch: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(scratch), "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}


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


def test_the_demo_holds_what_it_claims(scratch: Path) -> None:
    ran = subprocess.run(
        [*COMMAND, "--json", "--seconds", "4", "--seed", "3"],
        env=environment(scratch),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (line,) = ran.stdout.splitlines()
    result = json.loads(line)
    assert result["broken_claims"] == []
    assert result["coordinator_kills"] >= 10
    assert result["kills_in_doubt"] >= 1
    assert result["in_doubt_at_kill"] >= result["kills_in_doubt"]
    assert result["acceptor_outages"] == 1
    assert result["committed_during_outage"] > 0
    assert result["transfers"] == result["committed"] + result["aborted"]
    assert result["committed"] > result["committed_during_outage"]
    assert result["unknown"] == 0
    assert result["asked"] >= 1
    assert result["money_before"] == result["money_after"] == 64_000
    for nothing in ("half_committed", "acknowledged_lost", "false_answers"):
        assert result[nothing] == 0, nothing
    for nothing in ("prepared_left", "locks_left"):
        assert result[nothing] == 0, nothing
    assert result["two_phase_commit_blocked"] is True
    assert set(result["recovery_ms"]) == {"p50", "p99", "max"}
    assert result["seed"] == 3
    assert "\x1b" not in ran.stderr
    assert "\r" not in ran.stderr
    assert "✓ Everything held" in ran.stderr
    assert not left_behind(scratch)


def test_an_interrupted_demo_leaves_nothing_behind(scratch: Path) -> None:
    with subprocess.Popen(
        COMMAND,
        env=environment(scratch),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "kill  2" in line:
                assert left_behind(scratch)
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not left_behind(scratch)
