"""A warm, single-threaded process without connections that forks coordinators and recoverers.

Started as a script by `crew.Crew`; a fork takes milliseconds, a fresh interpreter a second
(trap 37b).  Orders come over a socket, each with the end of another one, over which the forked
process tells what it does and hears what to do next.  Its end is the end of that socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
import psycopg_pool

from paxcommit import (
    AsyncCoordinator,
    AsyncRecovery,
    Coordinator,
    PaxcommitError,
    Recovery,
    Settings,
    TxId,
)
from paxcommit.drivers import choose_async, choose_sync
from paxcommit.testing import failpoints

__all__: list[str] = []

_WARM = (asyncpg, psycopg, psycopg_pool, choose_async("asyncpg"), choose_sync("psycopg"))

Order = dict[str, Any]


class Channel:
    """To whoever gave the order."""

    def __init__(self, end: socket.socket) -> None:
        self._lines = end.makefile("rw", encoding="utf-8")

    def tell(self, what: str, value: object = None) -> None:
        print(json.dumps([what, value]), file=self._lines, flush=True)

    def hear(self) -> str:
        """Wait for a word; the end of file is a word, too."""
        return self._lines.readline().strip()


def arm(order: Order, stack: contextlib.ExitStack) -> None:
    """Kill or freeze this process at a step."""
    acts: dict[str, Callable[..., Any]] = {"kill": failpoints.kill_at, "stop": failpoints.stop_at}
    for action, step in order.get("arm", ()):
        stack.enter_context(acts[action](step))


async def coordinate(order: Order, channel: Channel) -> None:
    """Write a note at some participants in one transaction, on asyncio."""
    opening = AsyncCoordinator.open(Settings(**order["settings"]), driver=order["driver"])
    async with opening as coordinator:
        tx = coordinator.transaction()
        channel.tell("txid", str(tx.id))
        try:
            async with tx:
                for name in order["participants"]:
                    connection = await tx.connection(name)
                    await connection.execute(f"insert into note values ('{tx.id}')")
                    for sql in order.get("sql", {}).get(name, ()):
                        await connection.execute(sql)
                if order.get("wait"):
                    channel.tell("waiting")
                    await asyncio.get_running_loop().run_in_executor(None, channel.hear)
        except PaxcommitError as error:
            channel.tell("raised", type(error).__name__)
        channel.tell("outcome", str(tx.outcome))
        if order.get("linger"):
            await asyncio.get_running_loop().run_in_executor(None, channel.hear)


def coordinate_blocking(order: Order, channel: Channel) -> None:
    """Write a note at some participants in one transaction, on threads."""
    with Coordinator.open(Settings(**order["settings"]), driver=order["driver"]) as coordinator:
        tx = coordinator.transaction()
        channel.tell("txid", str(tx.id))
        try:
            with tx:
                for name in order["participants"]:
                    connection = tx.connection(name)
                    connection.execute(f"insert into note values ('{tx.id}')")
                    for sql in order.get("sql", {}).get(name, ()):
                        connection.execute(sql)
                if order.get("wait"):
                    channel.tell("waiting")
                    channel.hear()
        except PaxcommitError as error:
            channel.tell("raised", type(error).__name__)
        channel.tell("outcome", str(tx.outcome))
        if order.get("linger"):
            channel.hear()


async def recover(order: Order, channel: Channel) -> None:
    """Make recovery passes until told to stop."""
    async with AsyncRecovery.open(Settings(**order["settings"]), driver=order["driver"]) as one:
        channel.tell("open")
        for txid in order.get("force", ()):
            resolved = await one.resolve(TxId.parse(txid), force=True)
            channel.tell("outcome", str(resolved.outcome))
        if not order.get("force"):
            report = await one.run_once()
            channel.tell("report", [str(each.txid) for each in report.resolved])


def recover_blocking(order: Order, channel: Channel) -> None:
    """Make a recovery pass, on threads."""
    with Recovery.open(Settings(**order["settings"]), driver=order["driver"]) as one:
        channel.tell("open")
        for txid in order.get("force", ()):
            channel.tell("outcome", str(one.resolve(TxId.parse(txid), force=True).outcome))
        if not order.get("force"):
            report = one.run_once()
            channel.tell("report", [str(each.txid) for each in report.resolved])


JOBS: dict[str, Callable[[Order, Channel], Any]] = {
    "coordinate": lambda order, channel: asyncio.run(coordinate(order, channel)),
    "coordinate blocking": coordinate_blocking,
    "recover": lambda order, channel: asyncio.run(recover(order, channel)),
    "recover blocking": recover_blocking,
}


def work(order: Order, end: socket.socket) -> None:
    """Carry an order out, in the forked process."""
    channel = Channel(end)
    channel.tell("pid", os.getpid())
    with contextlib.ExitStack() as stack:
        arm(order, stack)
        try:
            JOBS[order["job"]](order, channel)
            channel.tell("done")
        except BaseException as error:
            channel.tell("failed", repr(error))
            raise


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits: the kernel buries them
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, 1 << 20, 1)
        if not message:
            return
        end = socket.socket(fileno=descriptors[0])
        if os.fork():
            end.close()
            continue
        orders.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        status = 1
        try:
            work(json.loads(message), end)
            status = 0
        finally:
            os._exit(status)


if __name__ == "__main__":
    main()
