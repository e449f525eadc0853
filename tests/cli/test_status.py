"""``paxcommit status``: what is prepared, whose coordinator lives, what is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Cli
    from tests.cli.stage import Stage


def test_nothing_in_flight(cli: Cli, ready: Path) -> None:
    ran = cli("status", "--json")
    assert ran.code == 0
    assert ran.document["branches"] == []
    assert [each["usable"] for each in ran.document["acceptors"]] == [True] * 3
    assert {each["slots"] for each in ran.document["participants"]} == {64}
    assert "Nothing is prepared" in cli("status").out


def test_a_living_coordinator_s_branch_is_in_flight_and_a_dead_one_s_in_doubt(
    cli: Cli, stage: Stage
) -> None:
    stage.prepare("orders", "billing")
    with stage.alive():
        ran = cli("status", "--json")
        assert ran.code == 0
        assert {each["coordinator"] for each in ran.document["branches"]} == {"alive"}
        assert "in flight" in cli("status").out
    ran = cli("status", "--json")
    assert ran.code == 4
    assert {each["coordinator"] for each in ran.document["branches"]} == {"dead"}
    assert {each["participant"] for each in ran.document["branches"]} == {"orders", "billing"}
    assert {each["txid"] for each in ran.document["branches"]} == {str(stage.txid)}
    assert "in doubt" in cli("status").out


def test_a_branch_past_its_deadline_is_in_doubt_although_its_coordinator_lives(
    cli: Cli, stage: Stage
) -> None:
    stage.prepare("orders", deadline=1)
    late = "select 1 from pg_prepared_xacts where clock_timestamp() - prepared > '1 s'"
    with stage.alive():
        assert cli("status").code in (0, 4)
        while not stage.rows("orders", late):
            pass
        assert cli("status").code == 4


def test_damage_is_reported_and_sets_the_exit_code(cli: Cli, stage: Stage) -> None:
    stage.rows(
        "orders", f"select paxcommit.record_damage('{stage.txid}', 'orders', 'lost-branch', 'gone')"
    )
    ran = cli("status", "--json")
    assert ran.code == 5
    assert ran.document["damage"][0]["txid"] == str(stage.txid)
    assert "DAMAGE" in cli("status").out


def test_an_acceptor_down_is_named_and_two_are_too_many(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    stage.prepare("orders")
    stop_acceptors("a1")
    ran = cli("status", "--json")
    assert ran.code == 4
    assert [each["usable"] for each in ran.document["acceptors"]] == [False, True, True]
    stop_acceptors("a1", "a2")
    ran = cli("status", "--json")
    assert ran.code == 6
    assert [each["usable"] for each in ran.document["acceptors"]] == [False, False, True]
    assert [each["coordinator"] for each in ran.document["branches"]] == ["unknown"]
    stop_acceptors("a1", "a2", "a3")
    ran = cli("status", "--json")
    assert ran.code == 6
    assert ran.document["error"]["kind"] == "NotEnoughAcceptors"


def test_a_participant_down_is_named(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS", f"postgresql://127.0.0.1:{closed_port}/o")
    ran = cli("status", "--json")
    assert ran.code == 6
    assert [each["reachable"] for each in ran.document["participants"]] == [True, False]


def test_foreign_gids_are_shown_and_left_alone(cli: Cli, stage: Stage) -> None:
    foreign = f"paxcommit:{'f' * 32}:1-00c0ffee00c0ffee-1:orders:5"
    stage.rows("orders", f"begin; select pg_current_xact_id(); prepare transaction '{foreign}'")
    ran = cli("status", "--json")
    assert ran.code == 0
    (orders,) = (each for each in ran.document["participants"] if each["name"] == "orders")
    assert orders["foreign"] == [foreign]
    assert stage.layout.place("orders").prepared() == [foreign]
