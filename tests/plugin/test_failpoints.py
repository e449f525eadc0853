"""Children are killed, stopped and heard; what is armed acts once, and must be reached."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from paxcommit import ConfigurationError, UsageError
from paxcommit import failpoints as steps
from paxcommit.failpoints import hit
from paxcommit.testing import ChildFailed, Failpoints, Place
from paxcommit.testing.failpoints import FailpointReached
from paxcommit.testing.plugin.arms import Arm, Arms

A, B = ("prepare", "orders", ".before"), ("prepare", "orders", ".after")
AFTER = "prepare:orders.after"


@pytest.fixture
def armed() -> Iterator[Failpoints]:
    """Not the plugin's own fixture: here some things are missed on purpose."""
    with Failpoints() as armed:
        yield armed
    assert steps._hook is None


def work(times: int = 1) -> dict[str, int]:
    for _ in range(times):
        hit(*A)
        hit(*B)
    return {"pid": os.getpid()}


def test_a_child_is_killed_at_the_step_once(armed: Failpoints) -> None:
    armed.kill_at(AFTER)
    reached = armed.record()
    ended = armed.run(work, 5)
    assert (ended.killed_at, ended.value) == (AFTER, None)
    assert reached == ["prepare:orders.before", AFTER]
    assert armed.missed() == ""
    again = armed.run(work, 5)
    assert again.killed_at is None
    assert again.value["pid"] != os.getpid()
    assert len(reached) == 2 + 10


@pytest.mark.parametrize(("step", "nth"), [(f"{AFTER}#3", 1), (AFTER, 3), ("*.after", 3)])
def test_the_nth_time(step: str, nth: int, armed: Failpoints) -> None:
    armed.kill_at(step, nth)
    reached = armed.record(AFTER)
    assert armed.run(work, 5).killed_at == AFTER
    assert len(reached) == 3


@pytest.mark.parametrize("step", [f"{AFTER}#0", f"{AFTER}#x", f"{AFTER}#-1"])
def test_the_first_time_is_one(step: str, armed: Failpoints) -> None:
    with pytest.raises(ConfigurationError, match="the first time is 1"):
        armed.kill_at(step)


def test_what_is_never_reached_is_told(armed: Failpoints) -> None:
    armed.kill_at("phase2a:*.after#2")
    armed.raise_at("tell:committed", optional=True)
    armed.run(work)
    told = armed.missed()
    assert "kill_at('phase2a:*.after#2')" in told
    assert f"Reached were: prepare:orders.before, {AFTER}" in told
    assert "tell" not in told


def test_the_test_itself_is_not_killed(armed: Failpoints) -> None:
    armed.kill_at(AFTER)
    with pytest.raises(UsageError, match="in the test's own process"):
        work()
    assert armed.missed()


def test_raising_and_calling_here(armed: Failpoints) -> None:
    called: list[str] = []
    armed.raise_at(AFTER, OSError("mine"))
    armed.call_at("prepare:*.before", lambda: called.append("called"))
    with pytest.raises(OSError, match="mine"):
        work()
    work()
    assert called == ["called"]
    armed.raise_at(AFTER)
    with pytest.raises(FailpointReached):
        work()


def test_an_error_in_a_child_is_told_in_full(armed: Failpoints) -> None:
    armed.raise_at(AFTER, ValueError("in the child"))
    with pytest.raises(ChildFailed, match=r"(?s)status 1:.*def work|in work.*in the child"):
        armed.run(work)
    assert armed.missed() == ""
    with pytest.raises(ChildFailed, match="SystemExit"):
        armed.run(lambda: exit(7))


async def test_a_coroutine_function_runs_in_a_child_of_an_async_test(armed: Failpoints) -> None:
    async def working(times: int, *, more: int) -> int:
        await asyncio.to_thread(work, times)
        return times + more

    assert armed.run(working, 1, more=2).value == 3
    armed.kill_at(AFTER)
    assert armed.run(working, 1, more=2).killed_at == AFTER


def test_a_child_that_takes_too_long_is_killed(armed: Failpoints) -> None:
    reading, writing = os.pipe()
    with pytest.raises(ChildFailed, match=r"still running after 0\.2 s"):
        armed.run(os.read, reading, 1, timeout=0.2)
    os.close(reading)
    os.close(writing)


def test_a_child_stops_and_goes_on(armed: Failpoints) -> None:
    armed.stop_at(AFTER)
    reached = armed.record()
    child = armed.start(work)
    assert child.wait_stopped() == AFTER
    assert Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] == "T"
    assert reached == ["prepare:orders.before", AFTER]
    child.resume()
    assert child.wait().value == {"pid": child.pid}
    assert child.wait().value == {"pid": child.pid}


def test_a_child_that_does_not_stop(armed: Failpoints) -> None:
    armed.stop_at("tell:committed")
    child = armed.start(work)
    with pytest.raises(ChildFailed, match="did not stop"):
        child.wait_stopped()


def test_no_child_outlives_the_test() -> None:
    with Failpoints() as armed:
        armed.stop_at(AFTER)
        child = armed.start(work)
        child.wait_stopped()
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


PROGRAM = """
import sys
from pathlib import Path
from paxcommit.failpoints import hit
if __name__ == "__main__":
    Path(sys.argv[1]).write_text("begun")
    hit("prepare", "orders", ".before")
    hit("prepare", "orders", ".after")
    Path(sys.argv[1]).write_text("done")
    sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize("way", ["script", "module"])
def test_a_program_of_its_own(way: str, armed: Failpoints, tmp_path: Path) -> None:
    script, out = tmp_path / "program_of_its_own.py", tmp_path / "out"
    script.write_text(PROGRAM)
    start = [str(script)] if way == "script" else ["-m", "program_of_its_own"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    armed.kill_at(AFTER)
    assert armed.run_python(*start, str(out), "0", env=env).killed_at == AFTER
    assert out.read_text() == "begun"
    assert armed.run_python(*start, str(out), "0", env=env).killed_at is None
    assert out.read_text() == "done"


def test_a_program_that_fails(armed: Failpoints, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    with pytest.raises(ChildFailed, match="status 3"):
        armed.run_python(str(script), str(tmp_path / "out"), "3")
    with pytest.raises(UsageError, match="script's path"):
        armed.run_python("-c", "pass")
    armed.raise_at(AFTER, optional=True)
    with pytest.raises(UsageError, match="cannot reach into another program"):
        armed.run_python(str(script))


def test_targets_are_checked_where_they_are_known() -> None:
    with Failpoints(["orders"], ["a1"]) as armed, pytest.raises(ConfigurationError, match="orders"):
        armed.kill_at("prepare:oders.after")


def test_the_fixture_knows_the_layout(paxcommit_layout, failpoints) -> None:
    assert isinstance(paxcommit_layout.place("billing"), Place)
    with pytest.raises(ConfigurationError, match=r"did you mean prepare:billing\.after"):
        failpoints.kill_at("prepare:biling.after")


def test_nobody_passes_the_step_at_which_the_process_is_about_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    def second() -> None:
        arms.hook("phase2a:a2.before")
        order.append("passed")

    other = threading.Thread(target=second)

    def hear(what: str, told: object) -> None:
        if what == "acted":
            other.start()
            other.join(0.2)  # in vain, for it has to wait for us

    arms = Arms(hear)
    arms.inherit(hear)
    arms.add(Arm(1, "kill", "phase2a:*.before"))
    monkeypatch.setattr(os, "kill", lambda pid, which: order.append("killed"))
    arms.hook("phase2a:a1.before")
    other.join()
    assert order == ["killed", "passed"]
