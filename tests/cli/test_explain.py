"""``paxcommit explain``: what every server holds, what it means, what happens next."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote
from paxcommit.sql.statement import Sql

if TYPE_CHECKING:
    from tests.cli.conftest import Cli
    from tests.cli.stage import Stage

J = {REGISTRAR: ParticipantSet.of(("orders", "billing"))}
YES = {"orders": Vote.PREPARED, "billing": Vote.PREPARED}


def test_nobody_knows_of_it(cli: Cli, stage: Stage) -> None:
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 4
    assert ran.document["outcome"] == "open"
    assert "No server knows of it" in cli("explain", str(stage.txid)).out
    assert "outcome --force" in cli("explain", str(stage.txid)).out


def test_prepared_without_votes_by_a_dead_coordinator(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 4
    assert (ran.document["coordinator"], ran.document["expected"]) == ("dead", "aborted")
    assert ran.document["participants"]["orders"]["prepared"] == str(stage.gid("orders"))
    text = cli("explain", str(stage.txid)).out
    assert "the acceptors know of no vote" in text
    assert "it will be aborted" in text
    with stage.alive():
        text = cli("explain", str(stage.txid)).out
        assert "Its coordinator is expected to finish it" in text


def test_voted_by_a_minority_it_may_go_either_way(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES}, "a2")
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 4
    assert ran.document["expected"] is None
    assert ran.document["acceptors"]["a1"]["promised"] == -1
    held = ran.document["acceptors"]["a2"]["accepted"]
    assert held["registrar"] == {"ballot": 0, "value": "{billing, orders}"}
    assert held["orders"] == {"ballot": 0, "value": "Prepared"}
    text = cli("explain", str(stage.txid)).out
    assert "a2: promised ballot 0; accepted registrar = {billing, orders} at ballot 0" in text
    assert "committed or aborted, depending on which acceptors answer first" in text


def test_accepted_at_two_ballots_it_will_be_committed(cli: Cli, stage: Stage) -> None:
    """No value is chosen, for no two acceptors hold it at one ballot; but every quorum knows it."""
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES}, "a2")
    stage.vote({**J, **YES}, "a1", ballot=1)
    ran = cli("explain", str(stage.txid), "--json")
    assert (ran.code, ran.document["chosen"]) == (4, {})
    assert ran.document["expected"] == "committed"


def test_decided_and_not_applied_yet(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES})
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 0
    assert ran.document["outcome"] == "committed"
    assert "Decided: committed" in " ".join(ran.document["meaning"])
    assert "will be committed by its coordinator or by recovery" in " ".join(ran.document["next"])


def test_decided_aborted(cli: Cli, stage: Stage) -> None:
    stage.vote({REGISTRAR: Vote.ABORTED}, ballot=1)
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 3
    assert ran.document["outcome"] == "aborted"


def test_whom_it_blocks(cli: Cli, stage: Stage) -> None:
    """The one who waits for the row, and the one who queues behind."""
    stage.prepare("orders")
    waiting = []
    with stage.session("orders") as first, stage.session("orders") as second:
        for session in (first, second):
            waiting.append(session.execute(Sql("select pg_backend_pid()")).rows[0][0])
        threads = [
            threading.Thread(target=session.execute, args=[Sql("update account set balance = 0")])
            for session in (first, second)
        ]
        for thread in threads:
            thread.start()
        query = "select count(*) from pg_locks where not granted"
        for _ in range(10_000):
            if stage.rows("orders", query) == [(2,)]:
                break
        try:
            ran = cli("explain", str(stage.txid), "--json")
            text = cli("explain", str(stage.txid)).out
        finally:
            stage.rows("orders", f"rollback prepared {stage.gid('orders').quoted}")
            for thread in threads:
                thread.join()
    blocks = ran.document["participants"]["orders"]["blocks"]
    assert {each["pid"] for each in blocks} == set(waiting)
    assert f"blocks backend {waiting[0]} (postgres paxcommit)" in text


def test_a_lost_branch_is_damage(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES})
    stage.rows("orders", f"rollback prepared {stage.gid('orders').quoted}")  # somebody's hand
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 5
    assert list(ran.document["damage"]) == ["orders"]
    assert "DAMAGE at orders" in cli("explain", str(stage.txid)).out


def test_a_branch_committed_by_hand_is_damage(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.rows("orders", f"commit prepared {stage.gid('orders').quoted}")
    stage.vote({REGISTRAR: Vote.ABORTED}, ballot=1)
    assert cli("explain", str(stage.txid)).code == 5


def test_without_a_majority_nobody_can_tell(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    stage.prepare("orders")
    stop_acceptors("a1", "a3")
    ran = cli("explain", str(stage.txid), "--json")
    assert ran.code == 6
    assert ran.document["participants"]["orders"]["prepared"] == str(stage.gid("orders"))
    text = cli("explain", str(stage.txid)).out
    assert "Only 1 acceptors answer and 2 are needed" in text
    assert "recovery then finishes it" in text


def test_a_decision_may_be_hidden_by_one_that_is_away(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    """Without failures F+1 acceptors have the votes, and one of those may be away."""
    stage.vote({**J, **YES}, "a1", "a2")
    assert "Decided: committed" in cli("explain", str(stage.txid)).out
    stop_acceptors("a2")
    ran = cli("explain", str(stage.txid))
    assert ran.code == 4
    assert "it may be decided: a2 may hold the votes" in ran.out
    assert "outcome --force" in ran.out
    asked = cli("outcome", str(stage.txid))
    assert asked.code == 4
    assert "a2 may hold one, and force finds it" in " ".join(asked.out.split())


def test_the_votes_of_one_acceptor_are_no_decision(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES})
    stop_acceptors("a1", "a3")
    assert cli("explain", str(stage.txid)).code == 6


def test_bad_txids(cli: Cli, ready: Path) -> None:
    for text in ("nonsense", "1-xyz-1", "0-00c0ffee00c0ffee-1"):
        ran = cli("explain", text)
        assert ran.code == 2
        assert f"{text!r} is not a transaction id" in ran.err
    ran = cli("explain", "7-00c0ffee00c0ffee-1")
    assert ran.code == 1
    assert "epoch 7" in ran.err
