"""Coordinators in processes of their own, to stop, wake and kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.traps import nursery
from tests.traps.lab import Lab
from tests.traps.surfaces import Surface

__all__ = ["Coordinators", "coordinators"]


class Coordinators:
    """What the nursery tells, and what one may do to its children."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def wake(self) -> None:
        """Send SIGCONT to all."""
        self._process.stdin.write(b"wake\n")

    async def kill(self, pid: int) -> None:
        """Send SIGKILL to one, and wait until it is gone."""
        os.kill(pid, signal.SIGKILL)
        await self.hear(1, "missed")

    async def hear(self, count: int, *words: str) -> dict[str, list[dict[str, Any]]]:
        """Listen until `count` lines have one of these words; return all lines by their word."""
        heard: dict[str, list[dict[str, Any]]] = {}
        while sum(len(heard.get(word, [])) for word in words) < count:
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
            assert line, f"the nursery is gone, after {heard}"
            told = json.loads(line)
            heard.setdefault(next(iter(told)), []).append(told)
        return heard


@asynccontextmanager
async def coordinators(
    surface: Surface, lab: Lab, steps: Sequence[Any]
) -> AsyncIterator[Coordinators]:
    """Start one per step, of ``[step to stop at, key, participants, deadline]``; see `nursery`."""
    # All of them connect at once, beside whatever else the machine has to do.
    settings = lab.settings(connect_timeout=30.0, acceptor_timeout=30.0)
    order = {"surface": surface.name, "settings": settings, "steps": steps}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(nursery.__file__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        process.stdin.write(json.dumps(order).encode() + b"\n")
        yield Coordinators(process)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
