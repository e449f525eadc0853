"""The plugin is loaded in every run of everybody who has paxcommit, so it brings nothing along."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import paxcommit
import paxcommit.testing

BROUGHT = """
import sys
import pytest
before = set(sys.modules)
import paxcommit.testing.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def run_python(program: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


def test_importing_the_plugin_imports_itself_alone() -> None:
    told = run_python(BROUGHT)
    assert told == ["paxcommit", "paxcommit.testing", "paxcommit.testing.pytest_plugin"]


def test_the_plugin_is_registered() -> None:
    [point] = [each for each in entry_points(group="pytest11") if each.name == "paxcommit"]
    assert point.value == "paxcommit.testing.pytest_plugin"


@pytest.mark.parametrize("module", [paxcommit, paxcommit.testing])
def test_public_names_come_when_asked_for(module) -> None:
    name = module.__name__
    assert set(module.__all__) <= set(run_python(f"import {name} as it; print(*dir(it))"))
    program = f"from {name} import *; print(*[n for n in {module.__all__!r} if n not in globals()])"
    assert run_python(program) == []
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        module.Nonsense  # noqa: B018 - asking is the test


def test_asking_for_an_error_imports_no_settings() -> None:
    program = (
        "import sys; from paxcommit import TransactionAborted, TxId;"
        "print(*[m for m in sys.modules if m.partition('.')[0] in ('pydantic', 'rich', 'asyncio')])"
    )
    assert run_python(program) == []
