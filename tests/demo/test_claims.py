"""The demo can fail: each of its claims, broken by itself, is told and ends in exit code 1."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from paxcommit.cli.main import app
from paxcommit.protocol.values import Outcome
from paxcommit.testing import demo
from paxcommit.testing.bank import Verdict
from paxcommit.testing.demo import Result
from paxcommit.testing.demo.books import Books
from paxcommit.testing.demo.kills import Kill, Moment
from paxcommit.testing.demo.outage import Outage
from paxcommit.testing.demo.reckoning import Reckoning, reckon
from paxcommit.testing.demo.result import percentile
from paxcommit.testing.demo.two_phase import Blocked

VERDICT = Verdict(64_000, 64_000, frozenset({"t1", "t2"}), frozenset(), (), (), 0)
KILL = Kill(Moment.UNDECIDED, in_doubt=2, recovery_ms=200.0, free=True)
RECKONING = Reckoning(2, 1, 0, asked=1, acknowledged_lost=0, false_answers=0)
BLOCKED = Blocked(
    transfers=9, in_doubt=2, accounts=2, queueing=1, waited_ms=2_000.0, blocked=True, free=True
)
GOOD = Result(
    kills=(KILL,) * 10,
    outages=(Outage(seconds=3.0, committed=50),),
    reckoning=RECKONING,
    money_before=64_000,
    verdict=VERDICT,
    two_phase=BLOCKED,
    seed=1,
    seconds=50.0,
)
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("half committed", {"verdict": replace(VERDICT, half_committed=frozenset({"t3"}))}),
    ("now there are 63,999", {"verdict": replace(VERDICT, money_after=63_999)}),
    ("there were 64,001", {"money_before": 64_001}),
    ("balances of bank_a/7", {"verdict": replace(VERDICT, misbooked=("bank_a/7",))}),
    ("left prepared", {"verdict": replace(VERDICT, prepared=("gid",))}),
    ("with 3 locks", {"verdict": replace(VERDICT, locks=3)}),
    ("1 acknowledged", {"reckoning": replace(RECKONING, acknowledged_lost=1)}),
    ("1 answers", {"reckoning": replace(RECKONING, false_answers=1)}),
    ("not be decided", {"reckoning": replace(RECKONING, unknown=1)}),
    ("still held locks", {"kills": (*GOOD.kills, replace(KILL, free=False))}),
    ("only 9", {"kills": GOOD.kills[1:]}),
    ("in doubt", {"kills": (replace(KILL, in_doubt=0),) * 10}),
    ("was down", {"outages": (Outage(seconds=3.0, committed=0),)}),
    ("was down", {"outages": ()}),
    ("did not block", {"two_phase": replace(BLOCKED, blocked=False)}),
    ("by hand", {"two_phase": replace(BLOCKED, free=False)}),
]


def run_with(result: Result, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any], str]:
    monkeypatch.setattr(demo, "play", lambda *_, **__: result)
    ran = CliRunner().invoke(app, ["demo", "--json"])
    return ran.exit_code, json.loads(ran.stdout), ran.stderr


def test_all_claims_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    code, document, text = run_with(GOOD, monkeypatch)
    assert code == 0
    assert document["broken_claims"] == []
    assert "✓ Everything held" in text


@pytest.mark.parametrize(("words", "changes"), BROKEN, ids=[words for words, _ in BROKEN])
def test_a_broken_claim_is_told(
    words: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, document, text = run_with(replace(GOOD, **changes), monkeypatch)
    assert code == 1
    (claim,) = document["broken_claims"]
    assert words in claim
    assert claim in " ".join(text.split())
    assert "Everything held" not in text


def test_percentiles_are_values_that_occurred() -> None:
    times = [float(number) for number in range(1, 201)]
    assert [percentile(times, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 100, 198, 200]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7
    assert percentile([], 0.99) == 0


def reckoned(**told: set[str]) -> Reckoning:
    """Reckon with t1 and t2 at both banks and t9 at one; `told` to clients, or by outcome()."""
    asked = {txid: Outcome[key.upper()] for key in ("open",) for txid in told.pop(key, set())}
    for key, outcome in (("found", Outcome.COMMITTED), ("lost", Outcome.ABORTED)):
        asked |= dict.fromkeys(told.pop(key, set()), outcome)
    books = Books(**told)
    books.begun |= {*asked, *books.committed, *books.aborted}
    return reckon(books, asked, replace(VERDICT, half_committed=frozenset({"t9"})))


def test_every_transfer_is_reckoned_once() -> None:
    books = Books()
    for kind, txid in (("begun", "t1"), ("committed", "t1"), ("begun", "t2"), ("unknown", "t2")):
        books.note(kind, txid)  # type: ignore[arg-type]
    books.note("begun", "t3")
    books.note("begun", "t4")
    books.note("aborted", "t4")
    assert books.unanswered == {"t2", "t3"}
    asked = {"t2": Outcome.COMMITTED, "t3": Outcome.ABORTED}
    assert reckon(books, asked, VERDICT) == Reckoning(2, 2, 0, 2, 0, 0)


@pytest.mark.parametrize(
    ("told", "lost", "false"),
    [
        ({"committed": {"t1", "t2"}, "begun": {"t9"}}, 0, 0),
        ({"committed": {"t1", "t2", "t3"}, "begun": {"t9"}}, 1, 0),
        ({"committed": {"t1", "t2", "t9"}}, 1, 0),
        ({"committed": {"t1"}, "aborted": {"t2"}, "begun": {"t9"}}, 0, 1),
        ({"committed": {"t1", "t2"}, "aborted": {"t9"}}, 0, 1),
        ({"committed": {"t1"}, "lost": {"t2"}, "begun": {"t9"}}, 0, 1),
        ({"committed": {"t1", "t2"}, "found": {"t9"}}, 0, 1),
        ({"committed": {"t1"}, "begun": {"t9"}}, 0, 1),
    ],
    ids=[
        "all true", "lost", "half is lost", "aborted but there", "aborted but half there",
        "outcome() says aborted", "outcome() says committed", "never begun",
    ],
)  # fmt: skip
def test_false_answers_are_counted(told: dict[str, set[str]], lost: int, false: int) -> None:
    reckoning = reckoned(**told)
    assert (reckoning.acknowledged_lost, reckoning.false_answers) == (lost, false)


def test_what_stays_open_is_unknown() -> None:
    assert reckoned(committed={"t1", "t2"}, begun={"t9"}, open={"t5"}).unknown == 1
