"""The how-to's code and the example's suite run as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
HOW_TO = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "docs/examples/shop"

SOME = "not killed_anywhere or shop or committed"
"""The how-to's own parametrised test is tried at one step, the example's at all."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(400)
def test_all_of_it_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    [ini] = blocks("ini")
    assert ini.split() == (EXAMPLE / "pytest.ini").read_text(encoding="utf-8").split()
    strict = "asyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    pytester.makeini(ini + strict)
    shutil.copytree(EXAMPLE, pytester.path / "shop", ignore=shutil.ignore_patterns(".*", "*.ini"))
    written = blocks("python")
    for number, block in enumerate(written):
        pytester.path.joinpath(f"test_block_{number}.py").write_text(block, encoding="utf-8")
    told = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v", "--tb=short", "-k", SOME)
    outcomes = told.parseoutcomes()
    assert outcomes.keys() == {"passed", "deselected"}, told.stdout.str()
    lines = told.stdout.str()
    for number in range(len(written)):
        assert f"test_block_{number}.py::" in lines
    assert outcomes["passed"] == 4 + 1 + 18


def test_every_fixture_is_told() -> None:
    plugin = (ROOT / "paxcommit/testing/pytest_plugin.py").read_text(encoding="utf-8")
    fixtures = re.findall(r"^@pytest\.fixture.*\ndef ([a-z]\w+)", plugin, re.MULTILINE)
    settings = re.findall(r'"(paxcommit_\w+)", ?"', plugin) + re.findall(
        r'addini\(\s*"(paxcommit_\w+)"', plugin
    )
    assert len(fixtures) == 11
    assert len({*settings}) == 3
    for name in [*fixtures, *settings]:
        assert re.search(rf"\b{name}\b", HOW_TO), name
