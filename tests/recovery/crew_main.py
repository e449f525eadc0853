"""A warm, single-threaded process without connections that forks coordinators and recoverers.

Started as a script by `crew.Crew`; a fork takes milliseconds, a fresh interpreter a second
(trap 37b).  Orders come over a socket, each with the end of another one, over which the forked
process tells what it does.  Its end is the end of that socket.
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

from paxcommit import AsyncCoordinator, AsyncRecovery, PaxcommitError, Settings
from paxcommit.drivers import choose_async
from paxcommit.testing import failpoints

__all__: list[str] = []

_WARM = (asyncpg, choose_async("asyncpg"))

Order = dict[str, Any]
Tell = Callable[..., None]


async def coordinate(order: Order, tell: Tell) -> None:
    """Write a note at some participants in one transaction."""
    opening = AsyncCoordinator.open(Settings(**order["settings"]), driver="asyncpg")
    async with opening as coordinator:
        tx = coordinator.transaction(wait=order["wait"])
        tell("txid", str(tx.id))
        try:
            async with tx:
                for name in order["participants"]:
                    connection = await tx.connection(name)
                    await connection.execute(f"insert into note values ('{tx.id}')")
        except PaxcommitError as error:
            tell("raised", type(error).__name__)
        tell("outcome", str(tx.outcome))


async def recover(order: Order, tell: Tell) -> None:
    """Make one recovery pass."""
    async with AsyncRecovery.open(Settings(**order["settings"]), driver="asyncpg") as recovery:
        report = await recovery.run_once()
        tell("resolved", [str(each.txid) for each in report.resolved])


JOBS = {"coordinate": coordinate, "recover": recover}
ACTS = {"kill": failpoints.kill_at, "stop": failpoints.stop_at}


def work(order: Order, end: socket.socket) -> None:
    """Carry an order out, in the forked process."""
    lines = end.makefile("w", encoding="utf-8")

    def tell(what: str, value: object = None) -> None:
        print(json.dumps([what, value]), file=lines, flush=True)

    tell("pid", os.getpid())
    try:
        with contextlib.ExitStack() as stack:
            for action, step in order["arm"]:
                stack.enter_context(ACTS[action](step))
            steps = stack.enter_context(failpoints.record())
            asyncio.run(JOBS[order["job"]](order, tell))
        tell("done", steps)
    except BaseException as error:
        tell("failed", repr(error))
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
