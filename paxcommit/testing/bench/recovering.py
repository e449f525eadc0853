"""How long locks last after a coordinator was killed: SIGKILL to the last one free."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from paxcommit.drivers import choose_async
from paxcommit.errors import ClusterError
from paxcommit.sql.statement import Sql
from paxcommit.testing._account import Account, remove_folder
from paxcommit.testing.bench.cells import Group
from paxcommit.testing.bench.job import Doubt, Doubted
from paxcommit.testing.bench.stage import Stage, together
from paxcommit.testing.bench.worker import Worker
from paxcommit.testing.warden import warden

__all__ = ["LIMITS", "kill_and_watch", "play_recovery", "recoverer"]

LIMITS = {64: 0.5, 1000: 3.0}
"""Seconds that the median kill may take, by the number of transactions in doubt."""

_CONNECTIONS = 16
_PATIENCE = 300.0
_TIMEOUT = 30.0
_LOOK_EVERY = 0.005
_HELD = (
    "SELECT (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())"
    " + (SELECT count(*) FROM pg_locks WHERE pid IS NULL AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


def play_recovery(
    transactions: int, kills: int, driver: str, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Kill a coordinator with so many transactions in doubt, several times.

    Args:
        transactions: In doubt at the moment of the kill, half of them with their votes cast.
        kills: How often.
        driver: asyncpg or psycopg, for coordinator and recoverer.
        tell: Hears what is going on.

    Returns:
        The JSON document: seconds per kill, and their median.
    """
    found: list[float] = []
    with together(participants=2, failures=1, clients=64) as stage, recoverer(stage, driver):
        job = stage.job(Group(driver, "paxcommit-applied"))
        for kill in range(1, kills + 1):
            tell(f"kill {kill} of {kills}, {transactions} transactions in doubt")
            with Worker(job, "doubt_main") as worker:
                worker.order(Doubt(transactions, _CONNECTIONS), Doubted)
                found.append(asyncio.run(kill_and_watch(worker, job.participants, driver)))
    median = round(statistics.median(found), 3)
    limit = LIMITS.get(transactions)
    return {
        "scenario": f"recovery-{transactions}",
        "driver": driver,
        "seconds": [round(each, 3) for each in found],
        "seconds_p50": median,
        "limit": limit,
        "met": None if limit is None else median <= limit,
    }


async def kill_and_watch(worker: Worker, dsns: Sequence[str], driver: str) -> float:
    """Kill, and wait until nobody holds locks without a process.

    Returns:
        Seconds from the kill to the look that found nothing.
    """
    chosen = choose_async(driver)
    sessions = [await chosen.connect(dsn, timeout=_TIMEOUT) for dsn in dsns]
    try:
        began = time.monotonic()
        worker.kill()
        for session in sessions:
            asked = time.monotonic()
            while (await session.execute(Sql(_HELD))).rows[0][0]:
                now = time.monotonic()
                if now - began > _PATIENCE:
                    raise ClusterError(f"locks are still held {_PATIENCE:g} s after the kill")
                # A long list is dear: whoever looks must not be what recovery waits for.
                await asyncio.sleep(max(_LOOK_EVERY, 4 * (now - asked)))
                asked = time.monotonic()
        return time.monotonic() - began
    finally:
        for session in sessions:
            session.discard()


@contextmanager
def recoverer(stage: Stage, driver: str) -> Iterator[None]:
    """Run ``paxcommit recover --watch``, as one deploys it."""
    with ExitStack() as stack:
        folder = Account().make_folder("paxcommit-bench-")
        stack.callback(remove_folder, folder)
        config = folder / "paxcommit.toml"
        config.touch(mode=0o600)
        config.write_text(_toml(stage.settings))
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PAXCOMMIT_", "PG"))
        }
        main = "from paxcommit.cli.main import app; app()"
        options = ["recover", "--watch", "--config", str(config), "--driver", driver]
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", main, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        warden().process(process.pid)
        log = process.stderr
        try:
            if log is None or not any("watching" in line for line in log):
                raise ClusterError("the recoverer did not start")
            with _swallowed(log):
                yield
        finally:
            process.terminate()
            process.wait()
            warden().ended(process.pid)
            if log is not None:
                log.close()


@contextmanager
def _swallowed(log: IO[str]) -> Iterator[None]:
    """Keep a log from filling its pipe, until the process that writes it ends."""
    import threading

    def swallow() -> None:
        for _ in log:
            pass

    threading.Thread(target=swallow, daemon=True).start()
    yield


def _toml(settings: dict[str, Any]) -> str:
    lines = [f"cluster = {json.dumps(settings['cluster'])}"]
    for table in ("acceptors", "participants"):
        lines.append(f"[{table}]")
        lines += [f"{name} = {json.dumps(dsn)}" for name, dsn in settings[table].items()]
    return "\n".join(lines) + "\n"
