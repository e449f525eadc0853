"""The compose file: its clients are killed in mid-commit, and nothing is half committed."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from paxcommit.testing import Layout, Place
from paxcommit.testing.admin import Rows, admin_execute
from paxcommit.testing.bank import judge

FILE = Path(__file__).parent.parent.parent / "compose/compose.yaml"
BANKS = {"bank_a": "first", "bank_b": "second"}
ROUNDS = 10

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, for two minutes at most."""
    Retrying(retry=retry_if_not_result(bool), wait=wait_fixed(0.1), stop=stop_after_delay(120))(
        condition
    )


@dataclass(frozen=True)
class Published:
    """As much of a `Server` as a `Place` needs, for a container with a published port."""

    address: str
    password: str

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{self.password}@{self.address}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> Rows:
        return admin_execute(self.dsn(database), statement)


class Stack:
    """The compose file's containers, under a name of their own."""

    def __init__(self) -> None:
        self.name = f"paxcommit{secrets.token_hex(4)}"
        self.password = secrets.token_hex(8)

    def __call__(self, *arguments: str) -> str:
        """Run ``docker compose`` with these arguments."""
        settings = {"POSTGRES_PASSWORD": self.password, "PAXCOMMIT_IMAGE": self.name}
        ran = subprocess.run(
            ["docker", "compose", "-p", self.name, "-f", str(FILE), *arguments],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{arguments}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def remove(self) -> None:
        """Leave nothing behind."""
        self("down", "--volumes", "--remove-orphans")
        subprocess.run(["docker", "image", "rm", self.name], capture_output=True, check=True)

    def banks(self) -> Layout:
        """The banks' databases, for the judge."""
        places = {
            bank: Place(Published(self("port", server, "5432").strip(), self.password), "postgres")
            for bank, server in BANKS.items()
        }
        return Layout("compose", {}, places)


@pytest.fixture
def stack() -> Iterator[Stack]:
    containers = Stack()
    try:
        containers("up", "--detach", "--build")
        yield containers
    finally:
        containers.remove()


def prepared(banks: Layout) -> list[str]:
    return [gid for place in banks.participant_places.values() for gid in place.prepared()]


def moved(banks: Layout, more_than: int) -> bool:
    """Whether every bank has more transfers than so many."""
    for place in banks.participant_places.values():
        [(opened,)] = place.execute("select to_regclass('bank.transfer') is not null")
        if not opened or place.execute("select count(*) from bank.transfer")[0][0] <= more_than:
            return False
    return True


def test_a_killed_coordinator_container_leaves_nothing_half_committed(stack: Stack) -> None:
    banks, committed, in_doubt = stack.banks(), 0, 0
    for _ in range(ROUNDS):
        until(partial(moved, banks, committed + 100))
        stack("pause", "recoverer")  # or it would be done before we have looked
        stack("kill", "-s", "SIGKILL", "clients")
        in_doubt = len(prepared(banks))
        stack("unpause", "recoverer")
        until(lambda: not prepared(banks))
        verdict = judge(banks)
        assert verdict.clean, verdict
        if in_doubt:
            break
        committed = len(verdict.committed)
        stack("up", "--detach", "clients")
    assert in_doubt, f"{ROUNDS} kills, and none of them hit a commit"
    stack("run", "--rm", "status")
