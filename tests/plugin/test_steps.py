"""The public list of steps is what commits and recovery really go through."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from paxcommit import AsyncCoordinator, ConfigurationError, Coordinator
from paxcommit.protocol import effects
from paxcommit.protocol.effects import Operation, Verdict
from paxcommit.testing import STEPS, commit_steps
from paxcommit.testing.plugin.steps import check_step

ROOT = Path(__file__).parents[2]
BOTH = ["orders", "billing"]


def test_every_operation_of_the_protocol_is_listed() -> None:
    classes = [each for each in get_args(Operation) if each not in (effects.Apply, effects.Send)]
    named = {each.step for each in classes} | {each.value for each in Verdict}
    between = {"fence-after-rollback"}  # two durable steps are one operation
    assert set(STEPS) == named | between | {"phase1a", "phase2a", "learn", "tell"}


def test_every_step_that_code_passes_is_listed() -> None:
    core = [path for path in ROOT.glob("paxcommit/**/*.py") if "testing" not in path.parts]
    text = "".join(path.read_text(encoding="utf-8") for path in core)
    named = re.findall(r"""failpoints\.hit\(\s*f?["']([\w-]+)""", text)
    assert named
    assert {*named} <= {*STEPS}


def expand(steps: list[str], reached: list[str]) -> None:
    """Each of `steps` was reached, as often as it says."""
    for step in steps:
        pattern, _, nth = step.partition("#")
        head, star, tail = pattern.partition("*")
        matches = [each for each in reached if each.startswith(head) and each.endswith(tail)]
        assert len(matches) >= int(nth or 1), (step, reached)
        assert star or matches == [pattern], (step, reached)


async def write(settings, *names: str) -> None:
    async with (
        AsyncCoordinator.open(settings, driver="asyncpg") as coordinator,
        coordinator.transaction() as tx,
    ):
        for name in names:
            connection = await tx.connection(name)
            await connection.execute("create table note ()")


def write_blocking(settings, *names: str) -> None:
    with Coordinator.open(settings) as coordinator, coordinator.transaction() as tx:
        for name in names:
            tx.connection(name).execute("create table note ()")


@pytest.mark.parametrize("names", [BOTH, BOTH[:1]], ids=["two", "one"])
@pytest.mark.parametrize("way", [write, write_blocking], ids=["asyncpg", "blocking"])
def test_a_commit_goes_through_its_steps(way, names, paxcommit_settings, failpoints) -> None:
    reached = failpoints.record()
    failpoints.run(way, paxcommit_settings, *names)
    expand(commit_steps(names), reached)
    kinds = {step.partition(":")[0] for step in commit_steps(names)}
    assert {name.partition(":")[0] for name in reached} == kinds


@pytest.mark.parametrize(
    "pattern", ["prepare:orders.after", "phase2a:*.after", "tell:committed", "*", "commit-p*"]
)
def test_names_that_steps_can_have(pattern: str) -> None:
    check_step(pattern, BOTH, ["a1", "a2", "a3"])
    check_step(pattern, None, None)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("prepare:oders.after", "did you mean prepare:orders.after"),
        ("prepare:orders.afterwards", "did you mean prepare:orders.after"),
        ("prepare:a1.after", "prepare:"),
        ("phase2a:orders.before", "phase"),
        ("tell:commited", "did you mean tell:committed"),
        ("nonsense", "there are: prepare"),
        ("prepare:orders", "did you mean prepare:orders"),
    ],
)
def test_names_that_no_step_can_have(pattern: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint):
        check_step(pattern, BOTH, ["a1", "a2", "a3"])


@pytest.mark.parametrize("pattern", ["nonsense:orders.after", "prepare:orders.afterwards"])
def test_without_a_layout_the_kind_of_step_is_checked_still(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="no step is called"):
        check_step(pattern, None, None)
