"""The rules of the house as tests: layers, forbidden imports, small modules, pinned names."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import paxcommit
from paxcommit.ports import Driver

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = sorted([*ROOT.glob("paxcommit/**/*.py"), *ROOT.glob("adapters/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
CORE = [path for path in SOURCES if path.is_relative_to(ROOT / "paxcommit")]
ADAPTERS = sorted(path.name for path in ROOT.glob("adapters/paxcommit_*"))

PURE = {
    *("__future__", "abc", "collections", "dataclasses", "enum", "functools", "hashlib"),
    *("heapq", "itertools", "math", "operator", "re", "types", "typing"),
    *("paxcommit.errors", "paxcommit.ids", "paxcommit.protocol"),
}
"""All that the protocol may import: no clock, no randomness, no I/O, no loop, no logging."""

LINT = """
import importlinter.cli
raise SystemExit(importlinter.cli.lint_imports(no_cache=True, no_logo=True))
"""

PUBLIC_NAMES = {
    *("AsyncCoordinator", "AsyncTransaction", "AsyncRecovery"),
    *("Coordinator", "Transaction", "Recovery"),
    *("Outcome", "RecoveryReport", "Resolved", "Settings", "TxId"),
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def parse(path: Path) -> ast.Module:
    return ast.parse(read(path), relative(path))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} imports relatively"
            yield node.module or ""


def called(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    yield name, node


def within(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def text_files() -> Iterator[Path]:
    tops = [path for path in ROOT.iterdir() if path.name == ".ci" or path.name[0] != "."]
    for top in tops:
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and path.suffix != ".pyc" and not {"dist", "build"} & {*path.parts}:
                yield path


def test_data_flows_one_way() -> None:
    linted = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import *; sys.exit(lint_imports(no_cache=1))",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_the_protocol_is_pure() -> None:
    modules = sorted(ROOT.glob("paxcommit/protocol/**/*.py"))
    assert modules
    for path in modules:
        impure = [name for name in imported(path) if not within(name, PURE)]
        assert not impure, f"{relative(path)} imports {impure}"
        acts = {name for name, _ in called(path)} & {"open", "print", "input", "exec", "eval"}
        assert not acts, f"{relative(path)} calls {acts}"


def test_the_core_knows_no_driver() -> None:
    for path in CORE:
        if path.is_relative_to(ROOT / "paxcommit/testing"):
            continue
        drivers = [
            name for name in imported(path) if within(name, {"asyncpg", "psycopg", *ADAPTERS})
        ]
        assert not drivers, f"{relative(path)} imports {drivers}"


@pytest.mark.parametrize("missing", ["asyncpg", "psycopg"])
def test_one_driver_is_enough_to_import_everything(missing: str) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in CORE
        if path.name != "__main__.py" and not path.is_relative_to(ROOT / "paxcommit/testing")
    ]
    script = f"import sys; sys.modules[{missing!r}] = None\nimport " + ", ".join(modules)
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_every_adapter_is_registered() -> None:
    registered = {point.module: point for point in entry_points(group="paxcommit.drivers")}
    assert set(registered) >= set(ADAPTERS) != set()
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for name in ADAPTERS:
        driver = registered[name].load()
        assert isinstance(driver, Driver)
        assert registered[name].name == driver.name == name.removeprefix("paxcommit_")
        assert f"adapters/{name}" in packages
        assert (ROOT / "adapters" / name / "py.typed").exists()


def test_rooms_are_small() -> None:
    lengths = {path: len(read(path).splitlines()) for path in SOURCES + TESTS}
    assert not {relative(path): lines for path, lines in lengths.items() if lines > 500}
    assert statistics.median(lengths[path] for path in SOURCES) < 200


def test_every_module_says_what_is_public() -> None:
    for path in SOURCES:
        if path.name.endswith("_main.py"):  # a program of its own, nobody imports it
            continue
        body = parse(path).body
        names = [ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)]
        only_a_docstring = len(body) <= 1
        assert only_a_docstring or "__all__" in names, f"{relative(path)} has no __all__"


def test_public_names_are_pinned() -> None:
    from paxcommit import errors

    assert set(paxcommit.__all__) == PUBLIC_NAMES | set(errors.__all__) - {"require"}
    assert list(paxcommit.__all__) == sorted(paxcommit.__all__)
    assert all(hasattr(paxcommit, name) for name in paxcommit.__all__)


def test_invariants_survive_optimisation() -> None:
    for path in SOURCES:
        asserts = [node.lineno for node in ast.walk(parse(path)) if isinstance(node, ast.Assert)]
        assert not asserts, f"{relative(path)}:{asserts}: use errors.require, -O strips assert"


def test_no_test_sleeps() -> None:
    for path in TESTS:
        sleeps = [
            call.lineno
            for name, call in called(path)
            if name == "sleep" and [ast.unparse(arg) for arg in call.args] != ["0"]
        ]
        assert not sleeps, f"{relative(path)}:{sleeps}: wait for what you wait for"


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    private = re.compile(r"(?<![\w.~$}/-])/(?:work|root|home|Users|opt/wheels)(?:/|\b)")
    files = list(text_files())
    assert len(files) > len(SOURCES)
    for path in files:
        found = private.findall(read(path))
        assert not found, f"{relative(path)} names {found}"
