"""A process that forks coordinators, each of which stops itself in the middle of a commit.

Run as a program.  Its first line of input is JSON: ``surface``, ``settings``, and ``steps``, a list
of ``[step, key, participants, deadline]``.  It tells, one JSON object per line: ``begun`` (with
txid and pid), ``stopped`` or ``missed`` for each step, and after the line ``wake`` on its input,
``claimed`` for each.  Whatever happens to its input, no child of it stays.

Forking from a process that has imported everything and holds no connection takes milliseconds,
where an interpreter takes the better part of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import asyncpg  # noqa: F401 - imported once, before the forks
import psycopg  # noqa: F401 - likewise
import psycopg_pool  # noqa: F401 - likewise

from paxcommit import AsyncCoordinator, Coordinator, OutcomeUnknown, TransactionAborted
from paxcommit.testing.failpoints import stop_at


def tell(**what: Any) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


async def transfer(order: dict[str, Any], key: str, names: list[str], deadline: float) -> str:
    async with AsyncCoordinator.open(order["settings"], driver=order["surface"]) as coordinator:
        try:
            async with coordinator.transaction(deadline=deadline) as tx:
                tell(begun=key, txid=str(tx.id), pid=os.getpid())
                for name in names:
                    connection = await tx.connection(name)
                    await connection.execute(f"INSERT INTO entry (key) VALUES ('{key}')")
        except (TransactionAborted, OutcomeUnknown) as error:
            return type(error).__name__
        return str(tx.outcome)


def blocking_transfer(order: dict[str, Any], key: str, names: list[str], deadline: float) -> str:
    with Coordinator.open(order["settings"]) as coordinator:
        try:
            with coordinator.transaction(deadline=deadline) as tx:
                tell(begun=key, txid=str(tx.id), pid=os.getpid())
                for name in names:
                    tx.connection(name).execute(f"INSERT INTO entry (key) VALUES ('{key}')")
        except (TransactionAborted, OutcomeUnknown) as error:
            return type(error).__name__
        return str(tx.outcome)


def fork(order: dict[str, Any], step: str, key: str, *terms: Any) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        name, _, nth = step.partition("#")
        with stop_at(name, int(nth or 1)):
            if order["surface"] == "threads":
                claim = blocking_transfer(order, key, *terms)
            else:
                claim = asyncio.run(transfer(order, key, *terms))
        tell(claimed=claim, key=key)
    except BaseException as error:  # noqa: BLE001 - the parent's test wants to know
        tell(claimed=f"{type(error).__name__}: {error}", key=key)
    os._exit(0)


def main() -> None:
    order = json.loads(sys.stdin.readline())
    children = {fork(order, *each): each[1] for each in order["steps"]}
    gone: set[int] = set()
    try:
        for pid, key in children.items():
            _, status = os.waitpid(pid, os.WUNTRACED)
            tell(**{"stopped" if os.WIFSTOPPED(status) else "missed": key})
            if not os.WIFSTOPPED(status):
                gone.add(pid)
        if sys.stdin.readline() == "wake\n":
            for pid in children.keys() - gone:
                os.kill(pid, signal.SIGCONT)
            while children.keys() - gone:
                gone.add(os.wait()[0])
    finally:
        for pid in children.keys() - gone:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
