"""The page for people: whole in one file, honest, and safe against what is in a history."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paxcommit.errors import ConfigurationError
from paxcommit.testing.chaos.events import (
    DamageReported,
    FaultBegun,
    FaultEnded,
    FaultSkipped,
    InDoubt,
)
from paxcommit.testing.chaos.history import read_history
from paxcommit.testing.chaos.judging import judge
from paxcommit.testing.chaos.judging_facts import Facts
from paxcommit.testing.chaos.page import check_page_tools, render, write_page
from paxcommit.testing.chaos.page_series import make_series
from paxcommit.testing.chaos.verdict import MEANINGS
from tests.chaos.bad_histories import BAD
from tests.chaos.bad_histories_story import KINDS, SKIPPED, THREE, Story, good

SENTENCES = {kind: f"What {kind} does." for kind in KINDS}
EVIL = "<script>alert('txid')</script>"


def page(lines: list[bytes], folder: Path) -> str:
    source = folder / "run.jsonl"
    source.write_bytes(b"\n".join(lines) + b"\n")
    history = read_history(source)
    return render(source, history, judge(history), SENTENCES)


def of(story: Story, folder: Path) -> str:
    return page(story.lines(), folder)


class Reader(HTMLParser):
    """What a reader sees, and what a browser would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.tags: list[str] = []
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "path", "use", "rect"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.fetched.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "use", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words += data


def words(text: str) -> str:
    return " ".join(Reader(text).words.split())


def test_a_good_run_is_called_so(tmp_path: Path) -> None:
    said = words(of(good(), tmp_path))
    assert "✓ Everything held" in said
    assert "158 transactions between 3 banks under 13 faults of 13 kinds" in said
    assert "2 clients were left without a final answer, and asking brought one for each" in said
    assert "1 branch was rolled back by hand" in said
    assert "✗" not in said


def test_a_bad_run_is_called_so_and_shows_the_lines(tmp_path: Path) -> None:
    lines = BAD["a_bank_lost_its_part"].lines()
    said = words(page(lines, tmp_path))
    assert "✗ 1 violation" in said
    assert "Everything held" not in said
    assert f"{THREE}: it is at bank_a, bank_c and not at bank_b" in said
    number = next(n for n, line in enumerate(lines, 1) if THREE.encode() + b'"' in line)
    assert f'{number}: {{"at": 1.3, "txid": "{THREE}"' in said
    assert "✗one bank has the transaction and another has not" in said


def test_the_page_is_whole_and_fetches_nothing(tmp_path: Path) -> None:
    text = of(good(), tmp_path)
    reader = Reader(text)
    assert reader.open == []
    assert not reader.fetched
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert reader.tags.count("svg") == 1


def test_the_same_history_makes_the_same_page(tmp_path: Path) -> None:
    assert of(good(), tmp_path) == of(good(), tmp_path)


def test_what_is_in_a_history_is_text(tmp_path: Path) -> None:
    story = good()
    story.change(FaultBegun, {"fault": "f1"}, target=EVIL, kind=f"kill-coordinator{EVIL}")
    story.change(FaultEnded, {"fault": "f1"}, proof={"count": 1, EVIL: EVIL})
    story.change(FaultSkipped, {"fault": "f0"}, reason=EVIL)
    story.last(DamageReported, txid=THREE, participant=EVIL, what=EVIL)
    reader = Reader(of(story, tmp_path))
    assert "script" not in reader.tags
    assert reader.words.count(EVIL) >= 6


def test_every_fault_is_there_with_its_proof(tmp_path: Path) -> None:
    story = good()
    skipped = {"fault": "f9", "kind": "half-close", "reason": "there was nothing to close"}
    story.after(story.find(FaultEnded, fault="f9"), (FaultSkipped, skipped))
    said = words(of(story, tmp_path))
    for number, kind in enumerate(KINDS, 1):
        assert f"What {kind} does." in said
        if kind != "half-close":
            assert f"count {number}, seen by hand" in said
    assert "does not count: there was nothing to close" in said
    assert f"{SKIPPED}0 Skipped: there is no strace here" in said


def test_the_picture_has_all_kinds_and_curves(tmp_path: Path) -> None:
    story = good()
    story.change(InDoubt, {"at": 24.0}, silent=1)
    text = of(story, tmp_path)
    picture = words(text[text.index("<svg") : text.index("</svg>") + 6])
    for each in (
        *KINDS,
        *("Answers per second", "committed", "aborted", "unknown", "p50", "p99"),
        *("Branches in doubt", "a bank did not answer", "Age of the oldest, s"),
        "a recoverer finished something",
    ):
        assert each in picture, each


def test_the_numbers_of_the_picture(tmp_path: Path) -> None:
    source = tmp_path / "run.jsonl"
    source.write_bytes(b"\n".join(good().lines()))
    series = make_series(Facts(read_history(source)))
    assert len(series.seconds) == 62
    assert sum(series.committed) == 154
    assert sum(series.aborted) == series.aborted[1] == 2
    assert sum(series.unknown) == series.unknown[24] == 1
    assert series.p50[10] == pytest.approx(20.0)
    assert series.p50[61] != series.p50[61]  # not a number: nothing committed
    assert [at for at, count in zip(series.looked, series.in_doubt, strict=True) if count] == [
        4.0,
        24.0,
    ]
    assert series.recovered == [4.3, 25.1]
    assert len(series.faults) == 13
    assert (series.faults[0].start, series.faults[0].end) == (4.0, 6.0)
    assert all(span.proven for span in series.faults)


def test_everything_that_is_judged_is_listed(tmp_path: Path) -> None:
    said = words(of(good(), tmp_path))
    assert all(name in said for name in MEANINGS)


def test_a_run_of_nothing_has_a_page_too(tmp_path: Path) -> None:
    lines = good().lines()
    end = b'{"at":0.0,"events":1,"event":"end"}'
    said = words(page([lines[0], end], tmp_path))
    assert "no-commits" in said
    assert "There was nothing for recoverers to do." in said


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    source = tmp_path / "run.jsonl"
    source.write_bytes(b"\n".join(good().lines()))
    history = read_history(source)
    with pytest.raises(ConfigurationError, match=r"cannot write .*: Is a directory"):
        write_page(tmp_path, source, history, judge(history), SENTENCES)


@pytest.mark.parametrize("missing", ["jinja2", "matplotlib"])
def test_what_is_missing_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match="pip install 'paxcommit"):
        check_page_tools()


def test_importing_loads_no_driver_and_nothing_that_draws() -> None:
    modules = ("", ".judging", ".page", ".plots", ".table", ".screen", ".history")
    imports = "\n".join(f"import paxcommit.testing.chaos{module}" for module in modules)
    heavy = {"matplotlib", "numpy", "jinja2", "asyncpg", "psycopg"}
    script = f"import sys\n{imports}\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
