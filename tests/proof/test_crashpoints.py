"""The crash-point tool finds what it is to find, goes on finding it, and says how to repeat it.

All cases take minutes (``make crashpoints``); here are the tool itself and a spread sample.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paxcommit.errors import ConfigurationError
from paxcommit.ids import Gid, TxId
from paxcommit.sql import branch, finish

from .crashpoints.cases import Act, Case
from .crashpoints.children import Told
from .crashpoints.examiner import Facts
from .crashpoints.pins import too_few
from .crashpoints.points import READS, Frozen, Points, label_of
from .crashpoints.verdict import violations
from .crashpoints.worker import Run

pytestmark = pytest.mark.timeout(400)  # seconds; many processes on a busy machine

ROOT = Path(__file__).parents[2]
GID = Gid("0" * 32, TxId(1, 2, 3), "orders", 5)


def crashpoints(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run it as people do: its processes must not be forks of one with threads."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.proof.crashpoints", "--json", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout.splitlines()[-1])


def test_every_cure_that_is_taken_out_is_missed() -> None:
    status, found = crashpoints("--self-check")
    assert (status, found["healthy"]) == (0, "")
    assert found["noticed"] == found["cures"] >= 5


def test_a_sample_of_pairs_goes_well() -> None:
    part = ("--only", "pairs", "--participants", "2")
    status, found = crashpoints(*part, "--sample", "8", "--jobs", "1")
    assert status == 0, found
    assert (found["pairs"], found["missed"]) == (8, 0)
    assert set(found["outcomes"]) == {"committed", "aborted"}


def test_a_violation_says_how_to_repeat_it() -> None:
    case = "commit,n=2,asyncpg,fifo,coordinator=kill@phase2a@a2.before,recoverer="
    status, found = crashpoints("--case", case, "--without", "quorum")
    assert status == 1
    assert found["case"] == case
    assert "told committed, and the databases say aborted" in found["violation"]


# --- without servers ----------------------------------------------------------------------------


def test_a_lower_count_fails() -> None:
    assert not too_few({("singles", 2): 10_000}, 0)
    (complaint,) = too_few({("singles", 2): 1}, 0)
    assert "1 cases" in complaint
    assert not too_few({("pairs", 2): 10}, 10)
    assert too_few({("pairs", 2): 9}, 10)


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        Case("lone", 3, "threads", "natural", force=True).at("write@orders.before"),
        Case("reader").at("phase2a@a1#2", "unheard"),
        Case().at("tell:committed").then(),
        Case(order="lifo").at("tell:committed").then("commit-prepared@orders.after"),
    ],
    ids=str,
)
def test_what_a_case_spells_is_that_case(case: Case) -> None:
    assert Case.parse(str(case)) == case


@pytest.mark.parametrize("text", ["twice", "n=7", "commit,wait=5"])
def test_what_is_no_case_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Case.parse(text)


def test_a_statement_that_nobody_has_heard_of_counts_as_durable() -> None:
    assert label_of("DELETE FROM paxcommit.branch WHERE true") not in READS
    assert label_of("SELECT paxcommit.frobnicate($1)") not in READS


@pytest.mark.parametrize(
    ("statements", "label"),
    [
        (branch.prepare_branch(GID), "prepare"),
        (branch.commit_only(GID), "commit-only"),
        (finish.commit_prepared(GID), "commit-prepared"),
        (finish.rollback_prepared(GID), "rollback-prepared"),
        (finish.fence(GID.digest, GID.txid, "orders"), "fence"),
        (finish.branch_kind(GID.digest, GID.txid, "orders"), "branch_kind"),
        (finish.prepared_branches(), "prepared"),
    ],
)
def test_statements_have_names(statements: Any, label: str) -> None:
    assert label_of(next(statements).text) == label


def test_a_transaction_that_stands_at_its_point_sends_nothing_more() -> None:
    heard: list[tuple[str, Any]] = []
    points = Points(Act("kill", "b#2"), lambda *what: heard.append(what), lambda: None)
    points.begun = True
    for name in ("a", "b", "a"):
        points.reach(name)
    with pytest.raises(Frozen):
        points.reach("b")
    with pytest.raises(Frozen):
        points.reach("c")
    with pytest.raises(Frozen):
        points.message("prepare", "orders")
    assert heard == [("point", name) for name in ("a", "b", "a#2", "b#2")]


def facts(**differences: Any) -> Facts:
    """Of a transaction that is committed at both participants."""
    well = {
        "noted": ["orders", "billing"],
        "kinds": {"orders": "branch", "billing": "branch"},
        "damages": {},
        "prepared": [],
        "locks": [],
        "outcome": "committed",
    }
    return Facts(**{**well, **differences})


def told(answer: str | None = None, *points: str) -> Told:
    return Told(points=list(points), values={"answer": answer} if answer else {})


NOTHING: dict[str, Any] = {"noted": [], "kinds": {}, "outcome": "open"}


@pytest.mark.parametrize(
    ("process", "found", "complaint"),
    [
        (told(), facts(noted=["orders"]), "half committed"),
        (told(), facts(kinds={"orders": "branch"}), "without a row"),
        (told(), facts(noted=[], outcome="aborted"), "has a row of kind branch"),
        (told(), facts(prepared=["gid"]), "still prepared"),
        (told(), facts(locks=["orders"]), "locks"),
        (told(), facts(damages={"orders": "lost-branch"}), "damage"),
        (told(), facts(outcome="aborted"), "whoever asks is told aborted"),
        (told(), facts(outcome="open"), "whoever asks is told open"),
        (told(), facts(**{**NOTHING, "outcome": "committed"}), "whoever asks is told committed"),
        (told("committed"), facts(**NOTHING), "told committed"),
        (told("aborted"), facts(), "told aborted"),
        (told(None, "tell:committed"), facts(**NOTHING), "told committed"),
        (Told(hung=True), facts(), "hangs"),
        (Told(values={"failed": "KeyError"}), facts(), "failed: KeyError"),
    ],
)
def test_the_judge_refuses(process: Told, found: Facts, complaint: str) -> None:
    case = Case().at("phase2a@a1.before")
    assert not list(violations(case, told(), None, facts()))
    assert complaint in "; ".join(violations(case, process, None, found))


def test_a_point_that_is_never_reached_does_not_count() -> None:
    for case in (Case().at("phase2a@a1.before"), Case().at("phase2a@a1", "lost")):
        assert not Run(case, told("committed", "write@orders.before"), None, facts(), "").happened
    killed = Told(points=["phase2a@a1.before"], killed=True)
    assert Run(Case().at("phase2a@a1.before"), killed, None, facts(), "").happened


def test_who_was_not_disturbed_has_to_commit() -> None:
    assert not list(violations(Case(), told("committed"), None, facts()))
    assert list(violations(Case(), told("unknown"), None, facts()))
    assert list(violations(Case(), told("aborted"), None, facts(**NOTHING)))


def test_one_cut_connection_is_no_reason_not_to_answer() -> None:
    case = Case().at("phase2a@a1", "unheard")
    assert list(violations(case, told("unknown"), None, facts()))
    assert list(violations(case, told(), None, facts()))
