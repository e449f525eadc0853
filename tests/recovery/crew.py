"""Coordinators and recoverers as processes of their own, to kill and to freeze."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from paxcommit import Settings

from ..coordinator.shop import Shop, eventually

__all__ = ["Crew", "Member"]

_PATIENCE = 30.0


class Member:
    """One process: what it tells comes over a stream that ends with it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.told: list[tuple[str, Any]] = []
        self.pid = 0

    async def hear(self, what: str) -> Any:
        """Wait until it tells this; returns the value.

        Raises:
            EOFError: It ended, or died, without.
        """
        while True:
            for kind, value in self.told:
                if kind == what:
                    return value
            if not await self._next():
                raise EOFError(f"it never told {what!r}, only {self.told}")

    async def killed(self) -> bool:
        """Wait until it is gone; tell whether it was killed before its work was done."""
        while await self._next():
            pass
        await eventually(lambda: not os.path.exists(f"/proc/{self.pid}"), "it to be gone")
        kinds = [kind for kind, _ in self.told]
        assert "failed" not in kinds, f"it failed: {self.told}"
        return "done" not in kinds

    async def frozen(self) -> None:
        """Wait until it stands still (it stopped itself at a step)."""
        stat = Path(f"/proc/{self.pid}/stat")
        await eventually(lambda: stat.read_text().rpartition(") ")[2][0] == "T")

    def wake(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if not self.pid:  # 0 would be our own process group
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def _next(self) -> bool:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(sock=self._end)
        async with asyncio.timeout(_PATIENCE):
            line = await self._reader.readline()
        if not line:
            return False
        kind, value = json.loads(line)
        if kind == "pid":
            self.pid = value
        self.told.append((kind, value))
        return True

    async def close(self) -> None:
        self.kill()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        else:
            self._end.close()


class Crew:
    """Starts `crew_main` once, and has it fork."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        self._members: list[Member] = []
        script = Path(__file__).with_name("crew_main.py")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    async def start(self, job: str, settings: Settings, shop: Shop, **order: Any) -> Member:
        """Start a process.

        Args:
            job: ``coordinate`` or ``recover``.
            settings: To open with.
            shop: For its DSNs, which `settings` hides.
            order: ``participants`` to write at; ``wait``, as `transaction` takes it; ``arm``,
                pairs of what to do (``kill`` or ``stop``) and at which step.
        """
        defaults = {"arm": [], "wait": "applied"}
        spelt = {**shop.layout.settings, "deadline": settings.deadline}
        order = {**defaults, **order, "job": job, "settings": spelt}
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [theirs.fileno()])
        member = Member(ours)
        self._members.append(member)
        await member.hear("pid")
        return member

    async def dismiss(self) -> None:
        """End whoever is left of this test's processes."""
        for member in self._members:
            await member.close()
        self._members.clear()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._orders.close()
        self._process.wait(10)
