"""The compose file: its clients are killed in mid-commit, and nothing is half committed."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_not_result, stop_after_delay, wait_fixed

from paxcommit.testing.admin import Rows, admin_execute

FILE = Path(__file__).parent.parent.parent / "compose/compose.yaml"
BANKS = ("first", "second")
ROUNDS = 10

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds, for two minutes at most."""
    Retrying(retry=retry_if_not_result(bool), wait=wait_fixed(0.1), stop=stop_after_delay(120))(
        condition
    )


class Stack:
    """The compose file's containers, under a name of their own."""

    def __init__(self) -> None:
        self.name = f"paxcommit{secrets.token_hex(4)}"
        self.password = secrets.token_hex(8)
        self._ports: dict[str, str] = {}

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

    def query(self, server: str, sql: str) -> Rows:
        """Run one statement on a server."""
        if server not in self._ports:
            self._ports[server] = self("port", server, "5432").strip()
        address = self._ports[server]
        return admin_execute(f"postgresql://postgres:{self.password}@{address}/postgres", sql)

    def transfers(self, bank: str) -> set[tuple[str]]:
        """The ids of the transfers that are committed in a bank."""
        return set(self.query(bank, "select txid from transfer"))

    def prepared(self) -> list[str]:
        """All prepared transactions of both banks."""
        rows = [self.query(bank, "select gid from pg_prepared_xacts") for bank in BANKS]
        return [gid for bank in rows for (gid,) in bank]

    def money(self) -> int:
        """What is in all accounts of both banks."""
        balances = [self.query(bank, "select sum(balance)::bigint from account") for bank in BANKS]
        return sum(total for [(total,)] in balances)

    def moves_money(self, more_than: int) -> bool:
        """Whether there are more transfers than so many."""
        made = "select to_regclass('transfer') is not null"
        if not all(self.query(bank, made)[0][0] for bank in BANKS):
            return False
        return len(self.transfers("second")) > more_than


@pytest.fixture
def stack() -> Iterator[Stack]:
    containers = Stack()
    try:
        containers("up", "--detach", "--build")
        yield containers
    finally:
        containers.remove()


def test_a_killed_coordinator_container_leaves_nothing_half_committed(stack: Stack) -> None:
    before, in_doubt = 0, 0
    for _ in range(ROUNDS):
        until(partial(stack.moves_money, before + 100))
        stack("pause", "recoverer")  # or it would be done before we have looked
        stack("kill", "-s", "SIGKILL", "clients")
        in_doubt = len(stack.prepared())
        stack("unpause", "recoverer")
        until(lambda: not stack.prepared())
        assert stack.transfers("first") == stack.transfers("second")
        assert stack.money() == 2 * 100 * 1000
        if in_doubt:
            break
        before = len(stack.transfers("second"))
        stack("up", "--detach", "clients")
    assert in_doubt, f"{ROUNDS} kills, and none of them hit a commit"
    stack("run", "--rm", "status")
