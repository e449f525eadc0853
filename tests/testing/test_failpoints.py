"""Armed steps kill, stop, raise, call and record; unarmed ones do nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from paxcommit import failpoints as steps
from paxcommit.errors import ConfigurationError
from paxcommit.failpoints import hit
from paxcommit.testing import failpoints


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """Every test here leaves all steps inert."""
    yield
    assert failpoints._hooks == []
    assert steps._hook is None


def _in_a_child(armed: Callable[[], AbstractContextManager[None]], *names: str) -> int:
    """Reach `names` in a forked child; return its pid."""
    child = os.fork()
    if child == 0:
        with armed():
            for name in names:
                hit(name)
        os._exit(0)
    return child


def test_kill_at_the_nth_time() -> None:
    child = _in_a_child(lambda: failpoints.kill_at("prepare.after", nth=2), "prepare.after", "x")
    assert os.waitpid(child, 0)[1] == 0
    names = ("prepare.after", "prepare.after")
    child = _in_a_child(lambda: failpoints.kill_at("prepare.after", nth=2), *names)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_stop_at_and_continue() -> None:
    child = _in_a_child(lambda: failpoints.stop_at("decided"), "decided")
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    os.kill(child, signal.SIGCONT)
    assert os.waitpid(child, 0)[1] == 0


def test_raise_at_once() -> None:
    with failpoints.raise_at("decided", OSError("mine")):
        hit("other")
        with pytest.raises(OSError, match="mine"):
            hit("decided")
        hit("decided")
    with failpoints.raise_at("decided", TimeoutError), pytest.raises(TimeoutError):
        hit("decided")


def test_call_at_and_record_together() -> None:
    seen: list[str] = []
    with failpoints.record() as reached, failpoints.call_at("b", lambda: seen.append("called")):
        for name in "abbc":
            hit(name)
    hit("d")
    assert reached == ["a", "b", "b", "c"]
    assert seen == ["called"]


def test_inner_block_ends_first() -> None:
    with failpoints.record() as outer:
        with failpoints.record("in*") as inner:
            hit("inside")
            hit("beside")
        hit("inside")
    assert outer == ["inside", "beside", "inside"]
    assert inner == ["inside"]


def test_patterns() -> None:
    with failpoints.record("prepare.*") as reached:
        for name in ("prepare.before", "preparex", "commit.after", "prepare.after"):
            hit(name)
    assert reached == ["prepare.before", "prepare.after"]


def test_the_first_time_is_one() -> None:
    with pytest.raises(ConfigurationError, match="the first time is 1"):
        failpoints.kill_at("x", nth=0)


PROGRAM = """
from paxcommit.failpoints import hit
from paxcommit.testing.failpoints import arm_from_environment
arm_from_environment()
for name in ("a", "prepare:orders.after", "prepare:orders.after"):
    print(name, flush=True)
    hit(name)
"""


@pytest.mark.parametrize(
    ("value", "status", "reached"),
    [
        ("", 0, 3),
        ("kill:prepare:orders.after:2", -signal.SIGKILL, 3),
        ("kill:prepare:*", -signal.SIGKILL, 2),
        ("raise:nothing, raise:a", 1, 1),
    ],
)
def test_from_the_environment(value: str, status: int, reached: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, failpoints.VARIABLE: value},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == status
    assert len(answer.stdout.split()) == reached


@pytest.mark.parametrize("value", ["kill", "explode:a", "kill::2", "kill:a:0", "raise:a,kill:"])
def test_a_misspelt_environment_arms_nothing(value: str) -> None:
    with pytest.raises(ConfigurationError, match="PAXCOMMIT_FAILPOINT"):
        failpoints.arm_from_environment({failpoints.VARIABLE: value})
