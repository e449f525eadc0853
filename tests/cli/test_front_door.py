"""What all commands have in common: help, exit codes, errors in words, no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paxcommit.cli.exits import Exit
from paxcommit.cli.telling import trouble
from paxcommit.errors import (
    ClusterError,
    ConfigurationError,
    IdentityMismatch,
    InvalidTxId,
    InvariantViolation,
    NotEnoughAcceptors,
    OutcomeUnknown,
    PaxcommitError,
    SchemaError,
    TransactionAborted,
)
from paxcommit.ids import TxId

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

COMMANDS = ("init", "doctor", "status", "explain", "outcome", "recover", "demo", "chaos", "bench")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_the_exit_codes_and_the_common_options(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    for code in Exit:
        assert f"{code.value} {code.meaning}" in text
    for option in ("--json", "PAXCOMMIT_JSON"):
        assert option in text


def test_the_list_of_commands(cli: Cli) -> None:
    out = cli("--help").out
    assert all(command in out for command in COMMANDS)
    assert cli("--version").out.startswith("paxcommit ")


@pytest.mark.parametrize("command", ["init", "doctor", "status", "recover"])
def test_settings_that_cannot_work_are_exit_code_2_in_three_sentences(
    cli: Cli, command: str, tmp_path: Path
) -> None:
    ran = cli(command)
    assert ran.code == 2
    assert [line.split(":")[0] for line in ran.err.splitlines()] == [
        "What happened",
        "What it means",
        "What to do",
    ]
    assert ran.out == ""
    path = tmp_path / "x.toml"
    path.write_text('cluster = "shop"\n[acceptors]\na1 = "host=db1 password=hunter2"\n')
    ran = cli(command, "--config", path, "--json")
    assert ran.code == 2
    assert "hunter2" not in ran.err + ran.out
    assert ran.document["error"]["kind"] == "ConfigurationError"
    assert ran.document["exit"] == 2


def test_a_missing_driver_is_named(cli: Cli, config: Path) -> None:
    ran = cli("status", "--driver", "oracle")
    assert ran.code == 2
    assert "there is no driver 'oracle' (there is: asyncpg, psycopg)" in ran.err


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_every_driver_will_do(cli: Cli, config: Path, driver: str) -> None:
    for command in ("init", "doctor", "status", "recover"):
        ran = cli(command, "--driver", driver)
        assert ran.code == 0, ran.err + ran.out


def test_trap_34_a_refused_password_is_not_shown(
    cli: Cli, ready: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("A1", "A2"):
        monkeypatch.setenv(
            f"PAXCOMMIT_ACCEPTORS__{name}", f"postgresql://u{name}:hunter2@localhost:1/w"
        )
    monkeypatch.setenv("PAXCOMMIT_ACCEPTORS__A2", "postgresql://u:hunter2@127.0.0.2:1/w")
    for command in ("init", "doctor", "status", "recover"):
        ran = cli(command, "--json")
        assert ran.code == 6
        assert "hunter2" not in ran.out + ran.err
        assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("x"), Exit.USAGE),
        (InvalidTxId("x"), Exit.USAGE),
        (SchemaError("x"), Exit.PROBLEM),
        (IdentityMismatch("x"), Exit.PROBLEM),
        (ClusterError("x"), Exit.PROBLEM),
        (PaxcommitError("x"), Exit.PROBLEM),
        (NotEnoughAcceptors("x"), Exit.UNREACHABLE),
        (TransactionAborted(TxId(1, 2, 3), "x"), Exit.ABORTED),
        (OutcomeUnknown(TxId(1, 2, 3), "x"), Exit.UNDECIDED),
        (InvariantViolation("x"), Exit.DAMAGE),
    ],
)
def test_every_error_has_an_exit_code_and_says_what_to_do(
    error: PaxcommitError, code: Exit
) -> None:
    told = trouble(error)
    assert told.code is code
    assert told.data.endswith(".")
    assert told.advice.endswith(".")
