"""Servers that crash, and backends that are terminated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from paxcommit.sql.statement import DatabaseError, Unanswered
from paxcommit.testing.chaos.faults.fault import Kind, Occurrence, Proof
from paxcommit.testing.chaos.stage import LABEL, Stage
from paxcommit.testing.server import Server

__all__ = ["KINDS", "choose_server", "kept_running", "server_words", "terminate_ours"]

_TERMINATE_EVERY = 0.3
_STARTED = "select extract(epoch from pg_postmaster_start_time())::text"


def choose_server(occurrence: Occurrence, *, with_bank: bool = False) -> Server:
    """Draw one of our own servers."""
    stage = occurrence.stage
    sites = stage.banks if with_bank else sorted(stage.servers)
    names = sorted({stage.servers[site].name for site in sites})
    name = occurrence.random.choice(names)
    return next(server for server in stage.servers.values() if server.name == name)


def server_words(stage: Stage, server: Server) -> str:
    """Name a server and what it hosts."""
    hosted = sorted(site for site, each in stage.servers.items() if each is server)
    return f"server {server.name} ({', '.join(hosted)})"


@contextlib.asynccontextmanager
async def kept_running(server: Server) -> AsyncIterator[None]:
    """See to it that the server runs after the block, whatever happened in it."""
    try:
        yield
    finally:
        if not server.is_running:
            await asyncio.to_thread(server.start)


async def _crash(occurrence: Occurrence, server: Server, how: Callable[[], None]) -> Proof:
    before = await asyncio.to_thread(server.execute, _STARTED)
    pid = server.pid
    occurrence.begin(server_words(occurrence.stage, server))
    async with kept_running(server):
        await asyncio.to_thread(how)
        dead = not server.is_running
        await occurrence.hold()
    after = await asyncio.to_thread(server.execute, _STARTED)
    return {
        "count": int(dead and before != after),
        "known by": "waitpid, and pg_postmaster_start_time() before and after",
        "pid": pid,
        "started before": before[0][0],
        "started after": after[0][0],
    }


async def _restart(occurrence: Occurrence) -> Proof:
    server = choose_server(occurrence)
    return await _crash(occurrence, server, lambda: server.stop("immediate"))


async def _kill(occurrence: Occurrence) -> Proof:
    server = choose_server(occurrence)
    return await _crash(occurrence, server, server.kill)


async def terminate_ours(stage: Stage, site: str, share: float = 1.0) -> int:
    """Terminate backends of our processes on the server of a site; tell how many."""
    rows = await stage.rows(
        site,
        "select count(*) filter (where pg_terminate_backend(pid))::int from pg_stat_activity"
        " where application_name ~ $1::text and pid <> pg_backend_pid() and random() < $2::float8",
        f"^{LABEL}-[cr][0-9]",
        share,
    )
    return int(rows[0][0])


async def _terminate(occurrence: Occurrence) -> Proof:
    stage = occurrence.stage
    sites = [*stage.acceptors, *stage.banks]
    occurrence.begin("our backends, on one server after the other")
    count = 0
    for _ in range(max(3, int(occurrence.seconds / _TERMINATE_EVERY))):
        site = occurrence.random.choice(sites)
        with contextlib.suppress(DatabaseError, Unanswered):  # other faults are under way
            count += await terminate_ours(stage, site, share=0.7)
        await asyncio.sleep(_TERMINATE_EVERY)
    return {"count": count, "known by": "pg_terminate_backend(), which said true"}


KINDS = (
    Kind(
        "restart-server",
        "Immediate stop of a server, which loses what it has not written yet, and a restart.",
        "servers",
        _restart,
        own_servers=True,
    ),
    Kind(
        "kill-server",
        "SIGKILL of a postmaster, and a restart.",
        "servers",
        _kill,
        own_servers=True,
    ),
    Kind(
        "terminate-backends",
        "pg_terminate_backend() on our own connections.",
        "processes",
        _terminate,
    ),
)
"""Servers and backends that die."""
