"""The judge can say no: every bad history made by hand is rejected, for exactly what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest

from paxcommit.errors import InvariantViolation
from paxcommit.testing.chaos import judging
from paxcommit.testing.chaos.events import (
    Answered,
    Booked,
    DamageReported,
    InDoubt,
    Seen,
)
from paxcommit.testing.chaos.history import Flaw, read_lines
from paxcommit.testing.chaos.judging import judge
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.verdict import MEANINGS, Verdict, Violation
from tests.chaos.bad_histories import BAD, FAIR, find, main
from tests.chaos.bad_histories_story import (
    KINDS,
    READER,
    REFUSED,
    REGRET,
    ROLLED_BACK,
    SKIPPED,
    SMALL_ONES,
    THREE,
    Story,
    good,
)


def judged(story: Story) -> Verdict:
    return judge(read_lines(story.lines()))


def test_the_good_history_is_accepted() -> None:
    verdict = judged(good())
    assert verdict.ok, verdict.violations
    assert verdict.document["violations"] == 0


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_rejected_for_what_is_wrong(name: str) -> None:
    assert BAD[name].found() == {BAD[name].violation}


@pytest.mark.parametrize("name", FAIR)
def test_what_only_looks_odd_is_accepted(name: str) -> None:
    assert find(FAIR[name]()) == set()


def test_every_violation_and_every_flaw_has_a_bad_history() -> None:
    made = {each.violation for each in BAD.values()}
    assert made == set(MEANINGS) | set(get_args(Flaw)) - {"unreadable"}


def test_no_check_is_idle() -> None:
    """Without any one of the checks some bad history would be accepted."""
    needed = set()
    for each in BAD.values():
        if each.violation in MEANINGS:
            facts = Facts(read_lines(each.lines()))
            [check] = [check for check in judging._CHECKS if any(check(facts))]
            needed.add(check)
    assert needed == set(judging._CHECKS)


def test_the_command_says_how_many_and_can_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(BAD)[3:]:
        monkeypatch.delitem(BAD, name)
    for name in list(FAIR)[1:]:
        monkeypatch.delitem(FAIR, name)
    assert main(["--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1]) == {"ok": True, "histories": 3, "rejected": 3}
    name = next(iter(BAD))
    monkeypatch.setitem(BAD, name, replace(BAD[name], violation="booked-twice"))
    assert main(["--json"]) == 1
    out = capsys.readouterr().out
    assert "NOT SO: ['half-committed']" in out
    assert json.loads(out.splitlines()[-1]) == {"ok": False, "histories": 3, "rejected": 2}


def test_the_judge_that_cries_wolf_fails_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in BAD.copy():
        monkeypatch.delitem(BAD, name)
    wolf = Violation("blocked", (1,), "wolf")
    monkeypatch.setattr(judging, "_CHECKS", (*judging._CHECKS, lambda _: iter((wolf,))))
    assert main([]) == 1
    assert "NOT SO: ['blocked']" in capsys.readouterr().out


def test_a_violation_tells_the_transaction_and_its_lines() -> None:
    lines = BAD["a_bank_lost_its_part"].lines()
    [violation] = judge(read_lines(lines)).violations
    assert violation.txid == THREE
    assert violation.detail == "it is at bank_a, bank_c and not at bank_b"
    cited = [json.loads(lines[line - 1]) for line in violation.lines]
    assert [each["event"] for each in cited] == ["begun", *["final-bank"] * 3]
    assert cited[0]["txid"] == THREE
    assert violation.meaning == "one bank has the transaction and another has not"


def test_what_is_at_one_bank_is_half_committed_whatever_was_told() -> None:
    for txid, named in ((REFUSED, "aborted-but-there"), (REGRET, "self-abort-took-effect")):
        story = good()
        story.rows["bank_a"].append(Booked(txid, 1, "bank_b", -9 if txid == REFUSED else -8))
        verdict = judged(story)
        assert {each.name for each in verdict.violations} == {"half-committed", named}
        assert verdict.document["half_committed"] == 1


def test_a_violation_has_a_name_that_is_explained() -> None:
    with pytest.raises(InvariantViolation, match="no such violation: bad-luck"):
        Violation("bad-luck", (), "")


def test_the_document_counts() -> None:
    document = judged(good()).document
    assert document["ok"] is True
    assert document["transactions"] == SMALL_ONES + 8
    assert document["committed"] == SMALL_ONES + 4
    assert document["aborted"] == 2
    assert document["unknown"] == 1
    assert document["unanswered"] == 1
    assert document["unknown_resolved"] == 2
    assert document["recoveries"] == 2
    assert document["deeds"] == document["damage_reported"] == 1
    assert document["half_committed"] == document["prepared_left"] == document["locks_left"] == 0
    assert document["faults"] == dict.fromkeys(sorted(KINDS), 1)
    assert document["skipped"] == {SKIPPED: "there is no strace here"}
    assert document["in_doubt_max"] == 2
    assert document["in_doubt_age_max_s"] == 0.4
    assert (document["where"], document["driver"], document["seed"]) == ("embedded", "asyncpg", 7)
    json.dumps(document)


def test_latency_within_and_outside_of_faults() -> None:
    story = good()
    for index, event in enumerate(story.events):
        # The faults of the good history go from 4 to 6, from 8 to 10, and so on.
        if isinstance(event, Answered) and event.at % 4 < 2 and 4 < event.at < 54:
            story.events[index] = replace(event, took=0.5)
    document = judged(story).document
    assert document["latency_ms"]["in_faults"]["p99"] == 500.0
    assert document["latency_ms"]["outside"] == {"p50": 20.0, "p99": 20.0}
    assert document["latency_ms"]["all"] == {"p50": 20.0, "p99": 500.0}


def test_long_lists_are_cut_and_counted() -> None:
    story = good()
    for bank in story.rows:
        story.rows[bank].clear()
    document = judged(story).document
    assert document["violations"] > SMALL_ONES
    assert len(document["violation_list"]) == 100


def test_an_own_cluster_may_have_other_transactions_to_recover() -> None:
    name = "somebody_recovers_what_nobody_began"
    first, *rest = BAD[name].lines()
    assert find([first.replace(b'"embedded"', b'"config"'), *rest]) == set()


def test_what_was_rolled_back_by_hand_need_not_be_visible() -> None:
    story = good()
    banks = {"bank_a": True, "bank_b": False}
    seen = {"process": "c1", "reader": READER, "of": ROLLED_BACK, "banks": banks}
    story.after(story.find(DamageReported, txid=ROLLED_BACK), (Seen, seen))
    assert judged(story).ok
    story.change(Seen, {"of": ROLLED_BACK}, banks={"bank_a": False, "bank_b": False})
    [violation] = judged(story).violations
    assert violation.detail == f"{READER} did not find it at bank_a"


def test_doubt_during_a_fault_is_no_blocking() -> None:
    story = good()
    story.change(InDoubt, {"at": 43.0}, count=1, oldest=20.0)
    verdict = judged(story)
    assert verdict.ok
    assert verdict.in_doubt_age_max == 20.0
