"""``paxcommit outcome`` and ``paxcommit recover``: the truth for scripts, and enforcing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from paxcommit.protocol.values import REGISTRAR, ParticipantSet, Vote

if TYPE_CHECKING:
    from tests.cli.conftest import Cli
    from tests.cli.stage import Stage

J = {REGISTRAR: ParticipantSet.of(("orders", "billing"))}
YES = {"orders": Vote.PREPARED, "billing": Vote.PREPARED}


def balances(stage: Stage) -> list[int]:
    return [stage.rows(name, "select balance from account")[0][0] for name in ("orders", "billing")]


def test_committed_is_exit_code_0(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES})
    ran = cli("outcome", str(stage.txid), "--json")
    assert (ran.code, ran.document["outcome"]) == (0, "committed")
    assert cli("outcome", str(stage.txid)).out.startswith("committed")
    assert balances(stage) == [100, 100]  # a question changes nothing


def test_aborted_is_exit_code_3(cli: Cli, stage: Stage) -> None:
    stage.vote({REGISTRAR: Vote.ABORTED}, ballot=1)
    ran = cli("outcome", str(stage.txid), "--json")
    assert (ran.code, ran.document["outcome"]) == (3, "aborted")


def test_open_is_exit_code_4_and_force_decides(cli: Cli, stage: Stage) -> None:
    ran = cli("outcome", str(stage.txid), "--json")
    assert (ran.code, ran.document["outcome"]) == (4, "open")
    ran = cli("outcome", "--force", str(stage.txid), "--json")
    assert (ran.code, ran.document["outcome"]) == (3, "aborted")
    assert cli("outcome", str(stage.txid)).code == 3


def test_an_unreachable_majority_is_exit_code_6(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    stop_acceptors("a1", "a2")
    ran = cli("outcome", str(stage.txid), "--json")
    assert ran.code == 6
    assert ran.document["error"]["kind"] == "NotEnoughAcceptors"


def test_a_txid_that_does_not_parse_is_exit_code_2(cli: Cli, ready: Path) -> None:
    ran = cli("outcome", "1-2-3", "--json")
    assert ran.code == 2
    assert ran.document["error"]["kind"] == "InvalidTxId"
    assert cli("outcome").code == 2


def test_recover_finishes_what_a_dead_coordinator_left(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES}, "a1", "a2")
    ran = cli("recover", "--json")
    assert ran.code == 0, ran.out
    assert ran.document["in_doubt"] == 2
    assert [each["outcome"] for each in ran.document["resolved"]] == ["committed"]
    assert balances(stage) == [99, 99]
    assert cli("recover", "--json").document["in_doubt"] == 0
    assert "0 branches were prepared" in cli("recover").out


def test_recover_leaves_a_living_coordinator_alone(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    with stage.alive():
        ran = cli("recover", "--json")
    assert ran.document["in_doubt"] == 2
    assert balances(stage) == [100, 100]
    assert stage.layout.place("orders").prepared() == [str(stage.gid("orders"))]


def test_recover_never_touches_what_is_not_ours(cli: Cli, stage: Stage) -> None:
    strangers = [f"paxcommit:{'f' * 32}:1-00c0ffee00c0ffee-1:orders:1", "paxcommit:?", "other"]
    for gid in strangers:
        stage.rows("orders", f"begin; select pg_current_xact_id(); prepare transaction '{gid}'")
    ran = cli("recover", "--json")
    assert ran.code == 0
    assert ran.document["foreign"] == strangers[:1]
    assert sorted(stage.layout.place("orders").prepared()) == sorted(strangers)


def test_damage_sets_the_exit_code_and_is_kept(cli: Cli, stage: Stage) -> None:
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES})
    stage.rows("orders", f"rollback prepared {stage.gid('orders').quoted}")
    ran = cli("recover", "--json")
    assert ran.code == 5
    assert list(ran.document["resolved"][0]["damage"]) == ["orders"]
    assert cli("status").code == 5
    assert cli("doctor").code == 5


def test_recover_without_a_majority_changes_nothing(
    cli: Cli, stage: Stage, stop_acceptors: Callable[..., None]
) -> None:
    stage.prepare("orders", "billing")
    stop_acceptors("a1", "a2")
    assert cli("recover").code == 6
    assert balances(stage) == [100, 100]


@pytest.fixture
def watching(stage: Stage, ready: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", "from paxcommit.cli.main import app; app()"]
    with subprocess.Popen(
        [*command, "recover", "--watch", "--json", "--config", str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PAXCOMMIT_")},
    ) as process:
        yield process
        process.kill()


def test_recover_watch_goes_on_until_it_is_told_to_stop(watching: Any, stage: Stage) -> None:
    assert watching.stderr is not None
    for line in watching.stderr:
        if "watching billing, orders" in line:
            break
    stage.prepare("orders", "billing")
    stage.vote({**J, **YES}, "a1", "a2")
    for line in watching.stderr:
        if f"{stage.txid}: committed" in line:
            break
    watching.send_signal(signal.SIGTERM)
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"stopped": True, "exit": 0}
    assert balances(stage) == [99, 99]
