"""The README's settings and examples run as they stand there, on real servers."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from paxcommit.ids import TxId
from paxcommit.settings import Settings
from paxcommit.testing import Layout

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def shop(make_layout: Callable[..., Layout], tmp_path: Path) -> Layout:
    """The databases that the README's settings name, with the tables that its examples use."""
    [example] = blocks("toml")
    settings = tomllib.loads(example)
    layout = make_layout(name=settings["cluster"], participants=tuple(settings["participants"]))
    assert layout.settings.keys() == settings.keys()
    assert layout.acceptors.keys() == settings["acceptors"].keys()
    layout.place("orders").execute(
        "create table orders (id integer primary key, state text not null)",
        "insert into orders values (7, 'new')",
    )
    layout.place("billing").execute("create table charges (order_id integer, cents integer)")
    layout.write_config(tmp_path)
    subprocess.run([Path(sys.executable).with_name("paxcommit"), "init"], cwd=tmp_path, check=True)
    return layout


def test_the_settings_are_valid() -> None:
    [example] = blocks("toml")
    assert Settings(**tomllib.loads(example)).f == 1


@pytest.mark.parametrize("example", blocks("python"), ids=["async", "sync"])
def test_the_example_commits_in_both_databases(example: str, shop: Layout, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    txid, outcome = ran.stdout.split()
    assert TxId.parse(txid).seq == 1
    assert outcome == "committed"
    assert shop.place("orders").execute("select state from orders") == [("paid",)]
    assert shop.place("billing").execute("select order_id, cents from charges") == [(7, 4200)]
    assert not shop.place("orders").prepared() + shop.place("billing").prepared()
