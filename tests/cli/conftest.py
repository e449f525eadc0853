"""The commands, as a script would run them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from paxcommit.cli.main import app
from paxcommit.testing import Layout


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document, which is the last line."""
        return json.loads(self.out.splitlines()[-1])


Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONFIG", "DRIVER", "JSON"):
        monkeypatch.delenv(f"PAXCOMMIT_{name}", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli() -> Cli:
    """Run ``paxcommit`` with these arguments, in this process."""

    def run(*arguments: str | os.PathLike[str]) -> Ran:
        result = CliRunner().invoke(app, [os.fspath(each) for each in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def config(layout: Layout, tmp_path: Path) -> Path:
    """``paxcommit.toml`` for `layout`, in the working directory of the test."""
    return layout.write_config(tmp_path)


@pytest.fixture
def ready(cli: Cli, config: Path) -> Path:
    """As `config`, with ``init`` done."""
    ran = cli("init")
    assert ran.code == 0, ran.err
    return config
