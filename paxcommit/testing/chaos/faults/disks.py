"""Disks that are slow, or fail, made by strace at ``fdatasync`` (trap 36)."""

from __future__ import annotations

import asyncio

from paxcommit.testing.chaos.faults.fault import Kind, NotMade, Occurrence, Proof
from paxcommit.testing.chaos.faults.servers import choose_server, kept_running, server_words
from paxcommit.testing.chaos.faults.tracing import backends, trace

__all__ = ["KINDS"]

_DELAY_MS = (50, 150, 400)
_PANIC_SECONDS = 5.0
_CONNECT_LOOKS = 30
_READY_SECONDS = 15.0
_PANIC = "PANIC:  could not fdatasync"


async def _slow(occurrence: Occurrence) -> Proof:
    server = choose_server(occurrence)
    delay = occurrence.random.choice(_DELAY_MS)
    pids = [server.pid, *backends(server)]
    folder = occurrence.stage.folder
    async with trace(folder, pids, f"fdatasync:delay_enter={delay}ms", children=True) as tracing:
        occurrence.begin(f"{server_words(occurrence.stage, server)}: {delay} ms per flush")
        await occurrence.until(lambda: tracing.count("(DELAYED)") > 0)
    return {
        "count": tracing.count("(DELAYED)"),
        "known by": "strace, which marks each delayed fdatasync",
        "milliseconds each": delay,
    }


async def _failing(occurrence: Occurrence) -> Proof:
    server = choose_server(occurrence)
    before = server.log().count(_PANIC)
    # Backends only: were the startup process hit as well, the server would stay down.
    folder = occurrence.stage.folder
    for _ in range(_CONNECT_LOOKS):
        if pids := backends(server):
            break
        await asyncio.sleep(0.1)
    async with kept_running(server):
        async with trace(folder, pids, "fdatasync:error=EIO:when=1", children=False) as tracing:
            occurrence.begin(f"{server_words(occurrence.stage, server)}: EIO from one flush")
            for _ in range(int(_PANIC_SECONDS / 0.05)):
                if tracing.count("EIO"):
                    break
                await asyncio.sleep(0.05)
        await _ready(occurrence, server.name)
    panics = server.log().count(_PANIC) - before
    return {
        "count": panics,
        "known by": "PANIC in the server's log, and EIO in strace's output",
        "EIO injected": tracing.count("EIO"),
    }


async def _ready(occurrence: Occurrence, name: str) -> None:
    """Wait until the server has recovered by itself."""
    stage = occurrence.stage
    site = next(site for site, server in stage.servers.items() if server.name == name)
    for _ in range(int(_READY_SECONDS / 0.2)):
        await asyncio.sleep(0.2)
        if not stage.servers[site].is_running:
            raise NotMade("the server did not survive its own recovery")
        try:
            await stage.rows(site, "select 1")
        except Exception:  # noqa: BLE001, S112 - whatever a server says while it recovers
            continue
        return


KINDS = (
    Kind(
        "slow-disk",
        "Every flush of a server takes longer, by strace.",
        "servers",
        _slow,
        own_servers=True,
    ),
    Kind(
        "failing-disk",
        "A flush of a server fails with EIO, by strace: it panics and recovers.",
        "servers",
        _failing,
        own_servers=True,
    ),
)
"""Disks."""
