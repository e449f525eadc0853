"""``paxcommit chaos``: a short run for real, and judging again without any server."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paxcommit.testing.chaos.faults import KINDS, SENTENCES
from paxcommit.testing.chaos.verdict import MEANINGS
from tests.chaos.bad_histories import BAD
from tests.chaos.bad_histories_story import good
from tests.demo.test_demo import environment, left_behind, scratch

if TYPE_CHECKING:
    from paxcommit.testing import Layout
    from tests.cli.conftest import Cli


COMMAND = [sys.executable, "-c", "from paxcommit.cli.main import app; app()", "chaos"]

__all__ = ["scratch"]  # the demo's fixture


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The good history in a file."""
    path = tmp_path / "kept.jsonl"
    path.write_bytes(b"\n".join(good().lines()) + b"\n")
    return path


def spoil(path: Path, name: str) -> Path:
    path.write_bytes(b"\n".join(BAD[name].lines()) + b"\n")
    return path


def test_help_tells_the_options(cli: Cli) -> None:
    out = cli("chaos", "--help").out
    for option in ("--config", "--seconds", "--seed", "--faults", "--history", "--html", "--judge"):
        assert option in out
    assert "PAXCOMMIT_JSON" in out
    assert "PAXCOMMIT_CONFIG" not in out


def test_a_kept_history_is_judged_again(cli: Cli, kept: Path) -> None:
    ran = cli("chaos", "--judge", kept)
    assert ran.code == 0
    assert "✓ Everything held" in ran.out
    assert ran.err == ""
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]  # no page unless asked for


def test_judging_for_a_script_and_with_a_page(cli: Cli, kept: Path) -> None:
    page = kept.parent / "page.html"
    ran = cli("chaos", "--judge", kept, "--html", page, "--json")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1
    assert ran.document["ok"] is True
    assert ran.document["violations"] == ran.document["prepared_left"] == ran.document["exit"] == 0
    assert len([kind for kind, count in ran.document["faults"].items() if count]) == 13
    assert ran.document["history"] == str(kept)
    assert ran.document["page"] == str(page)
    assert "✓ Everything held" in page.read_text()
    assert "✓ Everything held" in ran.err


def test_a_bad_history_fails(cli: Cli, kept: Path) -> None:
    page = kept.parent / "page.html"
    ran = cli("chaos", "--judge", spoil(kept, "a_bank_lost_its_part"), "--html", page, "--json")
    assert ran.code == ran.document["exit"] == 1
    assert ran.document["ok"] is False
    assert ran.document["violations"] == ran.document["half_committed"] == 1
    [violation] = ran.document["violation_list"]
    assert violation["name"] == "half-committed"
    assert "✗ half-committed (1): one bank has the transaction" in ran.err
    assert "✗ 1 violation" in page.read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("the_end_is_cut_off", "there is no end: the run was cut off, or the file was"),
        ("an_event_that_is_not_known", "line 10: Input tag 'un"),
        ("a_line_is_lost", "the end counts"),
        ("an_empty_file", "a history of `paxcommit chaos` begins with its run"),
    ],
)
def test_a_history_that_is_not_whole_is_told_in_words(
    cli: Cli, kept: Path, name: str, said: str
) -> None:
    ran = cli("chaos", "--judge", spoil(kept, name), "--json")
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert ran.document["error"]["kind"] == "HistoryError"
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("where", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_told_in_words(cli: Cli, where: str) -> None:
    ran = cli("chaos", "--judge", where)
    assert ran.code == 2
    assert f"cannot read {'nowhere.jsonl' if where != '.' else '.'}: " in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "x", "--seed", "1"], "--judge runs nothing, so --seed says nothing"),
        (["--judge", "x", "--faults", "delay"], "so --faults says nothing"),
        (["--faults", " , "], "--faults names no kind of fault"),
        (["--faults", "delay,bad-luck"], "there is no kind of fault bad-luck"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_told_and_leaves_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str], said: str
) -> None:
    ran = cli("chaos", *arguments)
    assert ran.code == 2
    assert said in ran.err
    assert not list(tmp_path.iterdir())


def test_the_environment_names_no_cluster_to_break(
    cli: Cli, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAXCOMMIT_CONFIG", str(config))
    ran = cli("chaos", "--faults", "bad-luck")
    assert ran.code == 2
    assert "no kind of fault bad-luck" in ran.err


def test_the_document_tells_every_kind_and_every_violation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", text, re.MULTILINE))
    assert rows == {**SENTENCES, **MEANINGS}
    ours = set(re.findall(r"^\| `([a-z-]+)` \| .+ \|  \|$", text, re.MULTILINE))
    assert ours == {kind.name for kind in KINDS.values() if kind.own_servers}


@pytest.mark.timeout(300)
def test_an_own_cluster_is_left_as_it_was_but_for_the_banks(
    cli: Cli, config: Path, layout: Layout
) -> None:
    assert cli("init", "--config", config).code == 0
    run = ("chaos", "--config", config, "--seconds", "3", "--faults", "kill-coordinator")
    ran = cli(*run, "--history", "h.jsonl", "--html", "p.html", "--json")
    assert ran.code == 0, ran.err + ran.out
    assert ran.document["where"] == "config"
    assert ran.document["faults"]["kill-coordinator"] >= 1
    assert (Path("h.jsonl").exists(), Path("p.html").exists()) == (True, True)
    assert not any(place.prepared() for place in layout.participant_places.values())
    doctor = cli("doctor", "--config", config)
    assert doctor.code == 0, doctor.out + doctor.err


@pytest.mark.timeout(300)
def test_an_interrupted_run_leaves_nothing_but_a_history_without_end(
    cli: Cli, scratch: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(
        [*COMMAND, "--history", tmp_path / "cut.jsonl"],
        env=environment(scratch),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Coordinators move money" in line:
                assert left_behind(scratch)
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert not left_behind(scratch)
    assert "there is no end: the run was cut off" in cli("chaos", "--judge", "cut.jsonl").err


@pytest.mark.timeout(300)
def test_a_short_run_is_judged_as_its_history_is_judged_again(cli: Cli, tmp_path: Path) -> None:
    run = ("chaos", "--seconds", "4", "--seed", "11", "--faults", "kill-coordinator, delay")
    ran = cli(*run, "--json")
    assert ran.code == 0, ran.err + ran.out
    document = ran.document
    assert document["seed"] == 11
    assert set(document["faults"]) == {"kill-coordinator", "delay"}
    assert document["transactions"] > 0
    assert document["unknown_resolved"] == document["unknown"] + document["unanswered"]
    assert document["history"] == "paxcommit-chaos-11.jsonl"
    assert document["page"] == "paxcommit-chaos-11.html"
    page = tmp_path / document["page"]
    first = page.read_bytes()
    again = cli("chaos", "--judge", document["history"], "--html", document["page"], "--json")
    assert again.document == document
    assert page.read_bytes() == first
