"""``paxcommit doctor`` on real servers, healthy and not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from paxcommit.doctor.checks import Check, Level
from paxcommit.doctor.server import check_server
from paxcommit.inspection.facts import ServerFacts
from paxcommit.inspection.sites import sites_of
from paxcommit.settings import Settings
from paxcommit.testing import Layout

if TYPE_CHECKING:
    from tests.cli.conftest import Cli, Ran
    from tests.cli.stage import Stage

WANTED = {
    *(
        "acceptor identity",
        "clock",
        "damage",
        "epoch record",
        "fsync",
        "full_page_writes",
        "grants",
    ),
    *("majority", "max_prepared_transactions", "membership", "prepare and roll back"),
    *("prepared transactions", "prepared_orphaned_transaction_timeout", "reachable"),
    *("recovery state", "registration", "role", "schema version", "server version"),
    *("synchronous_commit", "votes"),
}


def bad(ran: Ran) -> set[tuple[str, str, str]]:
    return {
        (check["subject"], check["name"], check["level"])
        for check in ran.document["checks"]
        if check["level"] != "ok"
    }


def test_a_healthy_cluster_has_no_problem_and_nothing_is_left_behind(
    cli: Cli, ready: Path, initialised: Layout
) -> None:
    ran = cli("doctor", "--json")
    assert ran.code == 0, ran.out
    assert bad(ran) == set()
    assert {check["name"] for check in ran.document["checks"]} == WANTED
    assert all(place.prepared() == [] for place in initialised.participant_places.values())
    assert "0 problems" in cli("doctor").out
    assert "max_prepared_transactions" not in cli("doctor").out
    assert "max_prepared_transactions" in cli("doctor", "--all").out


def test_before_init_it_says_to_run_init(cli: Cli, config: Path) -> None:
    ran = cli("doctor")
    assert ran.code == 1
    assert "Run `paxcommit init`" in ran.out


def test_it_works_while_an_acceptor_is_down(
    cli: Cli, ready: Path, stop_acceptors: Callable[..., None]
) -> None:
    stop_acceptors("a2")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    assert bad(ran) == {("acceptor a2", "reachable", "problem"), ("cluster", "majority", "warning")}


def test_without_a_majority_the_exit_code_says_so(
    cli: Cli, ready: Path, stop_acceptors: Callable[..., None]
) -> None:
    stop_acceptors("a2", "a3")
    ran = cli("doctor", "--json")
    assert ran.code == 6
    assert ("cluster", "majority", "problem") in bad(ran)


def test_foreign_and_orphaned_gids_are_reported_and_left_alone(cli: Cli, stage: Stage) -> None:
    place = stage.layout.place("orders")
    strangers = [
        f"paxcommit:{'0' * 32}:1-00c0ffee00c0ffee-1:orders:5",
        "paxcommit:nearly",
        str(stage.gid("billing")),
        "somebody else's",
    ]
    for gid in strangers:
        quoted = gid.replace("'", "''")
        place.execute(f"begin; select pg_current_xact_id(); prepare transaction '{quoted}'")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    told = [c for c in ran.document["checks"] if c["name"] == "foreign gid"]
    assert {c["level"] for c in told} == {"warning", "problem"}
    assert len(told) == 3
    assert any("of another paxcommit cluster" in c["found"] for c in told)
    assert any("1 of other software" not in c["found"] for c in told)
    assert sorted(place.prepared()) == sorted(strangers)


def test_an_acceptor_that_was_put_back_has_lost_votes(
    cli: Cli, config: Path, layout: Layout
) -> None:
    """R13: the others remember its mark."""
    assert cli("init").code == 0
    identity = layout.place("a2").execute("select identity::text from paxcommit.acceptor")[0][0]
    layout.place("a3").execute(
        f"update paxcommit.peer_mark set mark = 1000000 where identity = '{identity}'"
    )
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert ("acceptor a2", "votes", "damage") in bad(ran)
    assert ("cluster", "majority", "warning") in bad(ran)


def test_an_acceptor_of_another_cluster_is_found_out(
    cli: Cli, ready: Path, make_layout: Callable[..., Layout], initialised: Layout, tmp_path: Path
) -> None:
    other = make_layout(name="other")
    (tmp_path / "other").mkdir()
    assert cli("init", "--config", other.write_config(tmp_path / "other")).code == 0
    places = {**initialised.acceptor_places, "a2": other.acceptor_places["a2"]}
    mixed = replace(initialised, acceptor_places=places)
    ran = cli("doctor", "--json", "--config", mixed.write_config(tmp_path))
    assert ran.code == 1
    assert ("acceptor a2", "acceptor identity", "problem") in bad(ran)


def test_recorded_damage_is_told_and_sets_the_exit_code(cli: Cli, stage: Stage) -> None:
    stage.rows(
        "billing",
        f"select paxcommit.record_damage('{stage.txid}', 'billing', 'lost-branch', 'gone')",
    )
    ran = cli("doctor", "--json")
    assert ran.code == 5
    assert bad(ran) == {("participant billing", "damage", "damage")}


def test_r18_roles_and_grants(
    cli: Cli, config: Path, layout: Layout, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("init").code == 0
    place = layout.place("orders")
    dsn = place.server.dsn(place.database, user=login)
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS__DSN", dsn)
    ran = cli("doctor", "--json")
    assert ran.code == 1
    assert ("participant orders", "schema version", "problem") in bad(ran)
    assert "may not use the paxcommit schema" in ran.out
    monkeypatch.delenv("PAXCOMMIT_PARTICIPANTS__ORDERS__DSN")
    assert cli("init", "--role", login).code == 0
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS__DSN", dsn)
    assert cli("doctor", "--json").code == 0
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS__ROLE", "pg_monitor")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    assert {
        ("participant orders", "role", "problem"),
        ("participant orders", "grants", "problem"),
        ("participant orders", "prepare and roll back", "problem"),
    } <= bad(ran)
    monkeypatch.setenv("PAXCOMMIT_PARTICIPANTS__ORDERS__ROLE", "nobody_here")
    assert ("participant orders", "role", "problem") in bad(cli("doctor", "--json"))
    assert place.prepared() == []


def test_trap_12_full_slots_and_trap_19_fsync_are_problems(
    cli: Cli, make_layout: Callable[..., Layout], fresh_cluster: Callable[..., Any], tmp_path: Path
) -> None:
    servers = fresh_cluster(1, settings={"max_prepared_transactions": 1})
    layout = make_layout(servers, failures=0, participants=("orders",))
    config = layout.write_config(tmp_path)
    assert cli("init", "--config", config).code == 0
    layout.place("orders").execute("begin; select 1; prepare transaction 'somebody'")
    servers["s1"].configure(full_page_writes=False)
    ran = cli("doctor", "--json", "--config", config)
    assert ran.code == 1
    assert bad(ran) == {
        ("participant orders", "max_prepared_transactions", "problem"),
        ("participant orders", "prepare and roll back", "problem"),
        ("participant orders", "full_page_writes", "problem"),
        ("acceptor a1", "full_page_writes", "problem"),
        ("cluster", "majority", "warning"),
    }
    assert cli("init", "--config", config).code == 1


def _facts(**changes: Any) -> ServerFacts:
    good = ServerFacts(
        "18.1", 180001, False, True, True, "on", 10, 0, "0", 0.0, "1", "d", "u", True, True, False
    )
    return replace(good, **changes)


@pytest.mark.parametrize(
    ("changes", "name", "level"),
    [
        ({"orphan_timeout": "60s"}, "prepared_orphaned_transaction_timeout", Level.PROBLEM),
        ({"in_recovery": True}, "recovery state", Level.PROBLEM),
        ({"slots_used": 9}, "max_prepared_transactions", Level.WARNING),
        ({"version_num": 140000}, "server version", Level.WARNING),
        ({"version_num": 120000}, "server version", Level.PROBLEM),
    ],
)
def test_trap_16_and_other_things_that_no_test_server_has(
    changes: dict[str, Any], name: str, level: Level
) -> None:
    settings = Settings.load(
        {
            "cluster": "shop",
            "acceptors": {"a1": "postgresql://h/w"},
            "participants": {"orders": "postgresql://h/o"},
        }
    )
    site = sites_of(settings)[-1]
    worst: list[Check] = [c for c in check_server(site, _facts(**changes)) if c.level > Level.OK]
    assert [(check.name, check.level) for check in worst] == [(name, level)]
    assert worst[0].advice
    assert not [c for c in check_server(site, _facts()) if c.level > Level.OK]
