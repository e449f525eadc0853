"""The hunt for mutants can fail: survivors, stale mutants and kills that are none."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.proof.mutants import hunt as hunting
from tests.proof.mutants.__main__ import main
from tests.proof.mutants.catalogue.sample import sample
from tests.proof.mutants.catalogue.whole import AREAS, MUTANTS
from tests.proof.mutants.hunt import Fate, hunt
from tests.proof.mutants.mutant import Edit, Killer, Mutant, model, mutant, simulate, stale
from tests.proof.mutants.mutant import test as by_test
from tests.proof.mutants.table import PAGE
from tests.proof.mutants.tools import Answer, judge, judge_tests
from tests.proof.mutants.tree import ROOT

LEARNER = "paxcommit/protocol/learner.py"
COUNTS_ONCE = by_test("tests/protocol/test_paper_claims.py::test_an_acceptor_counts_once")
QUORUM = "if len(voters) >= self.quorum:"


# --- the catalogue ------------------------------------------------------------------------------


def test_the_catalogue_is_not_stale() -> None:
    assert len(MUTANTS) >= 45
    assert {name: why for name, each in MUTANTS.items() if (why := stale(ROOT, each))} == {}


def test_names_are_unique_and_every_mutant_says_what_it_would_cost() -> None:
    everyone = [each for module in AREAS.values() for each in module.MUTANTS]
    assert [name for name, count in Counter(m.name for m in everyone).items() if count > 1] == []
    for each in everyone:
        assert re.fullmatch(r"[a-z0-9-]+", each.name)
        assert re.fullmatch(r"(R\d+|trap \d+[a-c]?)(, (R\d+|trap \d+[a-c]?))*", each.cites)
        assert each.cost
        assert each.killers


def test_the_tests_that_kill_are_there() -> None:
    nodes = {
        node
        for each in MUTANTS.values()
        for killer in each.killers
        if killer.tool == "test"
        for node in killer.what
    }
    for node in nodes:
        file, _, function = node.partition("[")[0].partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), node


def test_a_sample_is_fixed_and_of_every_area() -> None:
    everyone = list(MUTANTS.values())
    some = sample(everyone, 21)
    assert sample(list(reversed(everyone)), 400) != []
    assert some == sample(everyone, 21)
    assert {each.area for each in some} == set(AREAS)
    assert len({each.name for each in some}) == 21


def test_the_page_is_of_this_catalogue() -> None:
    told = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(MUTANTS), "write it anew: --write-docs"


# --- hunting ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fates() -> Mapping[str, Fate]:
    """Four mutants, one of each fate."""
    hunted = [
        mutant("killed", "R5", "", (LEARNER, QUORUM, "if voters:"), by=[COUNTS_ONCE]),
        mutant("harmless", "R5", "", (LEARNER, "phase 2b.", "2b."), by=[COUNTS_ONCE]),
        mutant("stale", "R5", "", (LEARNER, "no such text", ""), by=[COUNTS_ONCE]),
        mutant(
            "breaks-the-import",
            "R5",
            "",
            (LEARNER, "import require\n", "import requires\n"),
            by=[COUNTS_ONCE],
        ),
        mutant(
            "falls-over-a-name",
            "R5",
            "",
            (LEARNER, QUORUM, "if len(voters) >= self.quorums:"),
            by=[COUNTS_ONCE],
        ),
    ]
    report = hunt(hunted, jobs=2)
    assert not report.ok
    assert report.unsound == {}
    assert report.killed == 1
    return report.fates


def test_a_kill_names_the_test_and_what_it_saw(fates: Mapping[str, Fate]) -> None:
    fate = fates["killed"]
    assert fate.fate == "killed"
    assert fate.by == COUNTS_ONCE
    assert "test_an_acceptor_counts_once: AssertionError" in fate.said


def test_a_harmless_mutant_survives(fates: Mapping[str, Fate]) -> None:
    assert fates["harmless"].fate == "survived"


def test_a_mutant_of_a_text_that_is_gone_is_stale(fates: Mapping[str, Fate]) -> None:
    assert fates["stale"].fate == "stale"
    assert "0 times 'no such text'" in fates["stale"].said


@pytest.mark.parametrize("name", ["breaks-the-import", "falls-over-a-name"])
def test_a_mutant_that_does_not_run_is_not_killed(name: str, fates: Mapping[str, Fate]) -> None:
    assert fates[name].fate == "trouble"
    assert "Error" in fates[name].said


def test_the_source_is_as_it_was(fates: Mapping[str, Fate]) -> None:
    """Copies are made by links, so a mutant that wrote to its file would write to all of them."""
    assert QUORUM in (ROOT / LEARNER).read_text(encoding="utf-8")


def test_a_killer_that_kills_the_original_as_well_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hunting, "use", lambda *_: Answer("killed", "1 test", "always"))
    each = mutant("killed", "R5", "", (LEARNER, QUORUM, "if voters:"), by=[COUNTS_ONCE])
    report = hunt([each], jobs=1)
    assert report.killed == 1
    assert list(report.unsound) == [str(COUNTS_ONCE)]
    assert not report.ok


def test_an_edit_that_changes_nothing_is_no_mutant() -> None:
    same = Mutant("same", "R5", "", (Edit(LEARNER, QUORUM, QUORUM),), (COUNTS_ONCE,))
    assert "nothing is changed" in (stale(ROOT, same) or "")


def test_an_unknown_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no-such-mutant"]) == 2
    assert "no-such-mutant" in capsys.readouterr().err


# --- judging what tools say ---------------------------------------------------------------------

_SAYS: list[tuple[Killer, int, object, str]] = [
    (model("ballots"), 0, {"ok": True, "states": 288}, "passed"),
    (model("ballots"), 1, {"ok": False, "states": 9, "violation": "disagree"}, "killed"),
    (model("ballots"), 1, {"ok": False, "states": 9, "violation": "limit"}, "trouble"),
    (model("ballots"), 1, {"ok": False, "states": 9}, "trouble"),
    (model("ballots"), 0, {"ok": True, "states": 0}, "trouble"),
    (model("ballots"), 0, {"ok": True}, "trouble"),
    (model("ballots"), 2, {"ok": True, "states": 9}, "trouble"),
    (simulate(9), 1, {"ok": False, "seeds": 4, "seed": 3, "violation": "lied"}, "killed"),
    (simulate(9), 1, {"ok": False, "seeds": 4, "violation": "UnknownStatement: X"}, "trouble"),
    (simulate(9), 1, {"ok": False, "seeds": 4, "violation": "NameError: X"}, "trouble"),
    (simulate(9), 1, "Traceback", "trouble"),
]


@pytest.mark.parametrize(("killer", "code", "says", "verdict"), _SAYS)
def test_what_a_tool_says_is_a_violation_or_is_no_kill(
    killer: Killer, code: int, says: object, verdict: str
) -> None:
    text = says if isinstance(says, str) else json.dumps(says)
    assert judge(killer, subprocess.CompletedProcess([], code, f"table\n{text}\n", "")).verdict == (
        verdict
    )


def failure(**changes: str) -> dict[str, str]:
    usual = {"when": "call", "kind": "AssertionError", "sqlstate": "", "said": "assert 1 == 2"}
    return {"node": COUNTS_ONCE.what[0], **usual, **changes}


@pytest.mark.parametrize(
    ("failed", "verdict"),
    [
        ([failure()], "killed"),
        ([failure(node=f"{COUNTS_ONCE.what[0]}[1]")], "killed"),
        ([failure(when="collect", kind="AssertionError")], "trouble"),
        ([failure(when="setup")], "trouble"),
        ([failure(when="teardown")], "trouble"),
        ([failure(node="tests/protocol/test_traps.py::test_another")], "trouble"),
        ([failure(kind="NameError")], "trouble"),
        ([failure(kind="DatabaseError", sqlstate="42601")], "trouble"),
        ([failure(kind="DatabaseError", sqlstate="40001")], "killed"),
        ([], "trouble"),
    ],
)
def test_only_the_test_itself_kills(failed: list[dict[str, str]], verdict: str) -> None:
    saw: dict[str, Any] = {"source": str(ROOT / "x.py"), "failed": failed, "passed": []}
    assert judge_tests(COUNTS_ONCE, saw, ROOT).verdict == verdict
    assert judge_tests(COUNTS_ONCE, saw, Path("elsewhere")).verdict == "trouble"
