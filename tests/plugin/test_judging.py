"""The verdict rejects bad states of every kind, and accepts good ones; hand-made, no servers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from paxcommit import TxId
from paxcommit.ids import Ballot
from paxcommit.inspection.branches import Branch
from paxcommit.protocol.finishing import Damage
from paxcommit.protocol.messages import Accepted, Learned
from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.participant import RecordedDamage
from paxcommit.testing.plugin.judging import complaints
from paxcommit.testing.plugin.telling import tell
from paxcommit.testing.plugin.truth import Truth

T = TxId(1, 7, 1)
NAMES = ("billing", "orders", "stock")
J = ParticipantSet.of(["orders", "billing"])


def learned(
    votes: Mapping[str, Any], acceptors: str = "123", ballot: int = 0
) -> dict[str, Learned]:
    accepted = {name: Accepted(Ballot(ballot), value) for name, value in votes.items()}
    return {f"a{n}": Learned(T, f"a{n}", Ballot(ballot), accepted) for n in acceptors}


YES = {REGISTRAR: J, "orders": Vote.PREPARED, "billing": Vote.PREPARED}
NO = {REGISTRAR: Vote.ABORTED}
BOTH = {"orders": "branch", "billing": "branch"}
GID = f"paxcommit:{'0' * 32}:{T}:orders:5"


def truth(votes: Mapping[str, Any] | None, rows: Mapping[str, str], **more: Any) -> Truth:
    return Truth(
        NAMES,
        majority=2,
        answers={} if votes is None else {T: learned(votes)},
        rows={T: rows} if rows else {},
        **more,
    )


def prepared(name: str) -> list[Branch]:
    return [Branch(T, name, GID, "postgres", 0.5, 5)]


GOOD = {
    "nothing at all": truth(None, {}),
    "committed": truth(YES, BOTH),
    "committed with effects": truth(YES, BOTH, effects={"orders": True, "billing": True}),
    "committed, another fenced": truth(YES, {**BOTH, "stock": "fence"}),
    "aborted": truth(NO, dict.fromkeys(NAMES, "fence")),
    "aborted, no fence needed": truth(NO, {}, effects={"orders": False, "billing": False}),
    "aborted by one vote": truth({**YES, "billing": Vote.ABORTED}, {}),
    "one phase": truth(None, {"orders": "only"}),
    "F acceptors away": dataclasses.replace(
        truth(None, BOTH), answers={T: learned(YES, "12")}, silent={"acceptor a3": "gone"}
    ),
}

BAD = {
    "committed, one branch lost": (truth(YES, {"orders": "branch"}), "billing.*is lost"),
    "committed, both branches lost": (truth(YES, {}), "orders.*is lost"),
    "committed, one branch fenced": (truth(YES, {**BOTH, "billing": "fence"}), "billing.*lost"),
    "committed, and at one that is not in J": (
        truth(YES, {**BOTH, "stock": "branch"}),
        "stock.*without it",
    ),
    "aborted, one branch committed": (truth(NO, {"orders": "branch"}), "orders.*aborted.*commit"),
    "aborted, committed in one phase": (truth(NO, {"orders": "only"}), "orders.*aborted"),
    "nobody decided, committed": (truth(None, {"orders": "branch"}), "nobody decided that"),
    "in one phase at two": (truth(None, {"orders": "only", "stock": "only"}), "nobody decided"),
    "one phase and a branch": (truth(None, {"orders": "only", "stock": "branch"}), "nobody dec"),
    "not decided": (truth({"orders": Vote.PREPARED}, {}), "is not decided"),
    "J chosen, a vote missing": (truth({REGISTRAR: J, "orders": Vote.PREPARED}, {}), "not decided"),
    "only one acceptor has it": (
        dataclasses.replace(truth(None, BOTH), answers={T: learned(YES, "1")}),
        "nobody decided that",
    ),
    "still prepared": (
        truth(YES, {"billing": "branch"}, prepared=prepared("orders")),
        "orders: .*still prepared",
    ),
    "prepared, nobody knows": (truth(None, {}, prepared=prepared("orders")), "not decided"),
    "a foreign branch": (truth(None, {}, foreign=["paxcommit:x at orders"]), "paxcommit:x"),
    "damage": (
        truth(
            YES,
            BOTH,
            damage={
                "orders": [
                    RecordedDamage(
                        T, "orders", Damage("lost-branch", "it is gone"), datetime.now(UTC)
                    )
                ]
            },
        ),
        "damage was recorded: it is gone",
    ),
    "effects in one only": (
        truth(YES, BOTH, effects={"orders": True, "billing": False}),
        "effects are at orders, and not at billing",
    ),
    "committed, effects nowhere": (
        truth(YES, BOTH, effects={"orders": False, "billing": False}),
        "effects are nowhere",
    ),
    "aborted, effects everywhere": (
        truth(NO, {}, effects={"orders": True, "billing": True}),
        "aborted, and its effects are there",
    ),
    "a participant away": (
        truth(YES, BOTH, silent={"participant stock": "gone"}),
        "participant stock cannot be asked",
    ),
    "a majority of acceptors away": (
        truth(None, {}, silent={"acceptor a1": "gone", "acceptor a2": "gone"}),
        "acceptor a1 cannot be asked",
    ),
}


@pytest.mark.parametrize("what", GOOD)
def test_good_states_are_accepted(what: str) -> None:
    assert complaints(GOOD[what], [T] if GOOD[what].answers else []) == []


@pytest.mark.parametrize("what", BAD)
def test_bad_states_are_rejected_and_told(what: str) -> None:
    bad, said = BAD[what]
    wrong = complaints(bad, [T])
    assert wrong
    told = tell(bad, wrong, {"orders": "select 1", "billing": "select\n 2"})
    assert [line for line in told.splitlines() if line.startswith("  - ")] == [
        f"  - {each}" for each in wrong
    ]
    assert re.search(said, "\n".join(wrong))


def test_the_story_names_every_place() -> None:
    bad, _ = BAD["still prepared"]
    told = tell(bad, complaints(bad), {})
    assert f"Transaction {T}: committed" in told
    assert "a2: promised ballot 0; accepted registrar = {billing, orders} at ballot 0" in told
    assert "billing: committed, its branch row stands" in told
    assert "orders: prepared for 0.5 s, deadline 5 s" in told
    assert "stock: nothing of it" in told
