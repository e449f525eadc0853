"""Running a tool on a tree, and what its answer means.

A mutant is killed if the tool says what is wrong.  A tool that could not start, was killed, or
fell over a name that the mutant does not know has said nothing, and that is no kill.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.proof.mutants import servers, witness
from tests.proof.mutants.mutant import Killer
from tests.proof.mutants.servers import Lender
from tests.proof.mutants.tree import Tree

__all__ = ["Answer", "judge", "judge_tests", "last_json", "use"]

TIMEOUT = 180.0
"""Seconds for one run on a mutant; what kills does so early."""

_WITHOUT_SERVERS = (
    "tests/protocol/",
    "tests/rules/test_r01_fork.py",
    "tests/proof/killers/test_surroundings.py",
)
"""Where no test needs a server."""

_NO_VIOLATION = {"limit", "count"}
"""What the model says of a scope that grew, rather than of what it found there."""

_NOTHING_SAID = {
    *("ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "NameError"),
    *("UnboundLocalError", "AttributeError", "TypeError", "UndefinedColumn", "UndefinedTable"),
    *("UndefinedFunction", "UndefinedColumnError", "UndefinedTableError", "UndefinedFunctionError"),
    *("PostgresSyntaxError", "UnknownStatement"),
}
"""Exceptions that say that the mutant is not well made, rather than what it does."""

_NOT_WELL_MADE = {"42601", "42703", "42P01", "42883", "42804", "42702"}
"""SQLSTATEs that say the same."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one run.

    Attributes:
        verdict: ``killed``: the tool found a violation.  ``passed``: it found none, having looked
            as it should.  ``trouble``: neither.
        after: How much it had looked at, in words.
        said: The violation, or what went wrong.
    """

    verdict: Literal["killed", "passed", "trouble"]
    after: str
    said: str


def use(killer: Killer, tree: Tree, lender: Lender, timeout: float = TIMEOUT) -> Answer:
    """Run a tool on a tree, and judge its answer; tests may use the lender's servers."""
    try:
        if killer.tool == "test":
            return _test(killer, tree, lender, timeout)
        return judge(killer, _tool(killer, tree, timeout))
    except subprocess.TimeoutExpired:
        return Answer("trouble", "", f"no answer in {timeout:g} s")


def last_json(output: str) -> dict[str, Any]:
    """The object on the last line of `output`; empty where there is none."""
    lines = output.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- tools that end in a line of JSON -----------------------------------------------------------


def _tool(killer: Killer, tree: Tree, timeout: float) -> subprocess.CompletedProcess[str]:
    match killer:
        case Killer("model", (scope,)):
            command = ["model", "--scope", scope, "--no-pin", "--json"]
        case Killer("simulate", (seeds,)):
            command = ["simulation", "--seeds", seeds, "--no-coverage", "--json"]
        case _:
            command = ["crashpoints", "--only", "singles", "--participants", "2", "--json"]
    module, *arguments = command
    return tree.run(["-m", f"tests.proof.{module}", *arguments], timeout=timeout)


def judge(killer: Killer, ran: subprocess.CompletedProcess[str]) -> Answer:
    """Judge the last line and the exit code of a tool."""
    said = last_json(ran.stdout)
    after = _after(killer, said)
    match said.get("ok"), ran.returncode:
        case True, 0 if after:
            return Answer("passed", after, "")
        case False, 1 if after and (why := _violation(said)):
            return Answer("killed", after, why)
        case _:
            tail = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
            return Answer("trouble", after, f"exit code {ran.returncode}: {' '.join(tail)}")


def _after(killer: Killer, said: Mapping[str, Any]) -> str:
    """How much was looked at; empty where the tool does not say, for then it is no proof."""
    match killer.tool:
        case "model":
            unit, count = "state", said.get("states")
        case "simulate":
            unit, count = "seed", said.get("seeds")
        case _:
            unit, count = "crash point", said.get("singles")
    return _count(count, unit) if isinstance(count, int) and count > 0 else ""


def _count(count: int, unit: str) -> str:
    return f"{count:,} {unit}" + ("s" if count != 1 else "")


def _violation(said: Mapping[str, Any]) -> str:
    """What the tool found; empty where it found nothing, but fell over something else."""
    found = said.get("violation")
    text = found if isinstance(found, str) and found not in _NO_VIOLATION else ""
    if any(f"{kind}:" in text for kind in _NOTHING_SAID):
        return ""
    return f"seed {said['seed']}: {text}" if text and "seed" in said else text


# --- tests --------------------------------------------------------------------------------------


def _test(killer: Killer, tree: Tree, lender: Lender, timeout: float) -> Answer:
    saw = tree.root / "witness.json"
    saw.unlink(missing_ok=True)
    options = ["-q", "-x", "--no-header", "--timeout=60", *_hypothesis(killer, tree.root)]
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.proof.mutants.witness"]
    variables = {witness.VARIABLE: str(saw)}
    if any(not node.startswith(_WITHOUT_SERVERS) for node in killer.what):
        variables[servers.VARIABLE] = lender.address()
    try:
        ran = tree.run(
            ["-m", "pytest", *options, *plugins, *killer.what], timeout=timeout, **variables
        )
    finally:
        lender.tidy()
    if not saw.is_file():
        tail = (ran.stderr or ran.stdout).strip().splitlines()[-1:]
        return Answer("trouble", "", f"exit code {ran.returncode}: {' '.join(tail)}")
    return judge_tests(killer, json.loads(saw.read_text(encoding="utf-8")), tree.root)


def _hypothesis(killer: Killer, root: Path) -> list[str]:
    """Always the same examples; and without its plugin, which takes longer than most tests."""
    files = {root / node.partition("::")[0] for node in killer.what}
    if any("hypothesis" in file.read_text(encoding="utf-8") for file in files if file.is_file()):
        return ["--hypothesis-seed=0"]
    return ["-p", "no:hypothesispytest"]


def judge_tests(killer: Killer, saw: Mapping[str, Any], root: Path) -> Answer:
    """Judge what `witness` wrote down of a run of exactly the killer's tests."""
    failed, passed = saw["failed"], saw["passed"]
    if not Path(saw["source"]).is_relative_to(root):
        return Answer("trouble", "", f"{saw['source']} was tested, not the copy")
    after = _count(len({*passed, *(each["node"] for each in failed)}), "test")
    for failure in failed:
        said = f"{failure['kind']}: {' '.join(failure['said'].split())[:200]}"
        node = failure["node"]
        ours = any(node == each or node.startswith(f"{each}[") for each in killer.what)
        if failure["when"] != "call" or not ours:
            return Answer("trouble", after, f"{failure['when']} of {node}: {said}")
        if failure["kind"] in _NOTHING_SAID or failure["sqlstate"] in _NOT_WELL_MADE:
            return Answer("trouble", after, f"not well made: {said}")
        return Answer("killed", after, f"{node.rpartition('::')[2]}: {said}")
    if not passed:
        return Answer("trouble", after, "no test ran")
    return Answer("passed", after, "")
