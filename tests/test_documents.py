"""The documents say what the code says: rules, traps, files, errors, exit codes, settings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from paxcommit import errors
from paxcommit.cli.exits import Exit
from paxcommit.settings import Participant, Recovery, Settings

ROOT = Path(__file__).parent.parent
TOPS = ("paxcommit", "adapters", "tests")
CODE = [path for top in TOPS for end in ("py", "sql") for path in ROOT.glob(f"{top}/**/*.{end}")]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


CITED = re.compile(
    r"\bR([1-9][0-9]?)\b(?:\s+to\s+R([1-9][0-9]?)\b)?|\btraps?\s+([1-9][0-9]?[a-d]?)\b"
)


def test_rules_and_traps_that_are_cited_are_written_down() -> None:
    rules = set(re.findall(r"^\*\*R(\d+)\b", read("docs/rules.md"), re.MULTILINE))
    traps = set(re.findall(r"^\*\*(\d+[a-d]?)\.", read("docs/traps.md"), re.MULTILINE))
    assert rules == {str(number) for number in range(1, 32)}
    cited_rules, cited_traps = set(), set()
    for path in CODE:
        for first, last, trap in CITED.findall(read(path)):
            cited_rules |= {first, last} - {""}
            cited_traps |= {trap} - {""}
    assert cited_rules
    assert cited_traps
    assert not cited_rules - rules
    assert not cited_traps - traps


NEED_A_TEST = {
    *("R1", "R2", "R6", "R7", "R8", "R10", "R11", "R14", "R19", "R20", "R23", "R30"),
    *(f"trap {number}" for number in [*range(1, 13), 14, 16, *range(19, 24), 25, *range(27, 35)]),
    *("trap 24a", "trap 24b", "trap 24c"),
}
"""Rules that close an execution which half-committed, and traps that threaten one."""


def test_dangerous_rules_and_traps_have_a_test_named_after_them() -> None:
    row = re.compile(r"^\| (R\d+|trap \d+[a-d]?) \| `(tests/[\w/.]+)::(\w+)`", re.MULTILINE)
    tables = read("docs/rules.md") + read("docs/traps.md")
    found = {claim: (file, name) for claim, file, name in row.findall(tables)}
    missing = sorted(NEED_A_TEST - set(found))
    assert not missing
    for claim, (file, name) in found.items():
        [test] = [
            node
            for node in ast.walk(ast.parse(read(file)))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
        ]
        said = f"{name}_ {ast.get_docstring(test) or ''} ".lower().replace("trap_", "trap ")
        assert re.search(rf"\b{claim.lower()}(?![0-9a-d])|_{claim.lower()}_", said), (claim, name)


def test_documents_point_at_what_exists() -> None:
    """Every relative link, every file named in backquotes, every test named with it."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    for path in documents:
        text = read(path)
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            assert (path.parent / target).exists(), f"{relative(path)} links to {target}"
        pattern = r"`((?:paxcommit|adapters|tests|docs|compose|\.ci)/[\w./-]*)(?:::(\w+))?`"
        for file, test in re.findall(pattern, text):
            assert (ROOT / file).exists(), f"{relative(path)} names {file}"
            defined = not test or re.search(rf"\bdef {test}\b", read(file))
            assert defined, f"{relative(path)} names {file}::{test}"


def test_every_error_says_what_it_means_for_the_data() -> None:
    bases = {"PaxcommitError", "ClusterError"}
    told = read("docs/operations.md")
    assert not [name for name in {*errors.__all__} - {"require", *bases} if f"`{name}`" not in told]


def test_exit_codes_are_told() -> None:
    rows = re.findall(r"^\| (\d) \| (.+) \|$", read("docs/operations.md"), re.MULTILINE)
    assert rows == [(str(code.value), code.meaning) for code in Exit]


@pytest.mark.parametrize(
    ("model", "prefix"), [(Settings, ""), (Recovery, "recovery."), (Participant, "")]
)
def test_every_setting_is_told_with_its_default(
    model: type[Settings | Recovery | Participant], prefix: str
) -> None:
    told = read("docs/operations.md")
    for name, field in model.model_fields.items():
        if isinstance(field.default, int | float):
            unit = " s" if isinstance(field.default, float) else ""
            row = rf"^\| `{prefix}{name}` \| `\w+` \| {field.default:g}{unit} \|"
            assert re.search(row, told, re.MULTILINE), f"{prefix}{name} = {field.default:g}"
        else:
            assert re.search(rf"\b{name}\b", told), name
