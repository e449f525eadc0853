"""``paxcommit bench``: a short run for real, on its own servers and on the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paxcommit.testing.bench.cells import FLOORS

if TYPE_CHECKING:
    from paxcommit.testing import Layout
    from tests.cli.conftest import Cli

BRIEF = ("--seconds", "0.2", "--repetitions", "2", "--clients", "1", "--no-counts")


def test_help_tells_the_options(cli: Cli) -> None:
    out = cli("bench", "--help").out
    for option in ("--config", "--seconds", "--systems", "--clients", "--full", "--scenario"):
        assert option in out
    assert "PAXCOMMIT_CONFIG" not in out
    for floor in FLOORS:
        assert floor in out


def test_a_short_run_with_page_and_picture(cli: Cli, tmp_path: Path) -> None:
    page, picture = tmp_path / "bench.html", tmp_path / "bench.png"
    systems = ("--systems", "bare,logged-2pc,paxcommit-applied")
    ran = cli("bench", *BRIEF, *systems, "--html", page, "--png", picture, "--json")
    assert ran.code == ran.document["exit"] == 0
    assert len(ran.out.splitlines()) == 1
    assert set(ran.document["ratios"]) == {
        "applied_p50_vs_bare_1",
        "applied_p50_vs_logged_2pc_1",
    }
    assert all(ratio > 0 for ratio in ran.document["ratios"].values())
    cells = {row["system"]: row for row in ran.document["cells"]}
    assert set(cells) == {"bare", "logged-2pc", "paxcommit-applied"}
    assert all(row["transactions_per_second"] > 0 for row in cells.values())
    assert all(len(row["transactions"]) == 2 for row in cells.values())
    assert "applied_p50_vs_logged_2pc_1" in ran.err
    text = page.read_text()
    assert "<svg" in text
    assert "applied_p50_vs_bare_1" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_f_has_acceptors_of_its_own(cli: Cli) -> None:
    options = ("--systems", "bare,paxcommit-applied", "--failures", "2,1")
    ran = cli(
        "bench", "--seconds", "0.2", "--repetitions", "1", "--clients", "1", *options, "--json"
    )
    assert ran.code == 0
    told = {(row["system"], row["failures"]) for row in ran.document["cells"]}
    assert told == {("bare", None), ("paxcommit-applied", 1), ("paxcommit-applied", 2)}
    trips = {
        key.rpartition(" ")[2]: counts["acceptor_round_trips"]
        for key, counts in ran.document["counts"].items()
    }
    assert trips == {"N=2": 0, "F=1": 2, "F=2": 3}
    assert ran.document["ratios"]["applied_p50_vs_bare_1"] > 0


def test_on_the_users_servers_it_leaves_nothing(cli: Cli, ready: Path, initialised: Layout) -> None:
    options = ("--drivers", "psycopg-sync", "--systems", "paxcommit-applied,bare")
    ran = cli("bench", "--config", ready, *BRIEF, *options, "--json")
    assert ran.code == 0
    assert {row["driver"] for row in ran.document["cells"]} == {"psycopg-sync"}
    refused = cli("bench", "--config", ready, *BRIEF, "--systems", "bare,floor")
    assert refused.code == 2
    assert "floor: a floor is unsafe" in refused.err
    elsewhere = cli("bench", "--config", ready, *BRIEF, "--failures", "2")
    assert elsewhere.code == 2
    assert "it takes 5" in elsewhere.err
    for place in initialised.participant_places.values():
        assert place.prepared() == []
        assert place.execute("select 1 from pg_class where relname ~ '^paxcommit_bench'") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--systems", "fast"), "there is no 'fast'"),
        (("--drivers", "psycopg2"), "there is no 'psycopg2'"),
        (("--clients", "0"), "whole numbers from 1"),
        (("--clients", ","), "--clients names nothing"),
        (("--systems", "bare,floor-rows", "--drivers", "psycopg"), "a floor is unsafe"),
        (("--scenario", "acceptor-dead", "--html", "page.html"), "leave --config"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_starts(
    cli: Cli, options: tuple[str, ...], said: str
) -> None:
    ran = cli("bench", *options)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())


def test_what_is_not_installed_is_said_before_anything_starts(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paxcommit.testing.bench.run.find_spec", lambda _: None)
    ran = cli("bench", *BRIEF, "--systems", "sqlalchemy")
    assert ran.code == 2
    assert "paxcommit[bench]" in ran.err
