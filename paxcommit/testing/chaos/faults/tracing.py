"""``strace`` attached to processes of a server, to delay or to fail their system calls."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from paxcommit.testing.chaos.faults.fault import NotMade
from paxcommit.testing.local import LocalServer
from paxcommit.testing.server import Server
from paxcommit.testing.warden import warden

__all__ = ["Trace", "backends", "trace"]

_ATTACH_SECONDS = 3.0
_LOOK_EVERY = 0.02
_END_SECONDS = 5.0


class Trace:
    """One ``strace`` at work; use `trace`.

    Args:
        process: Of strace.
        output: Where it writes.
        errors: Where it complains.
    """

    def __init__(self, process: Process, output: Path, errors: Path) -> None:
        self._process = process
        self._output = output
        self._errors = errors

    @property
    def running(self) -> bool:
        """Whether it still traces anybody."""
        return self._process.returncode is None

    def count(self, what: str) -> int:
        """How many lines of its output have `what` in them."""
        lines = self._output.read_text(errors="replace").splitlines()
        return sum(what in line for line in lines)

    @property
    def complaint(self) -> str:
        """The last line of its standard error."""
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    async def end(self) -> None:
        """Let go of the processes."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        warden().ended(self._process.pid)


def backends(server: Server) -> list[int]:
    """The server's processes that serve clients, by ``/proc``.

    Raises:
        NotMade: They cannot be seen from here.
    """
    if not isinstance(server, LocalServer):
        raise NotMade("the server's processes are not on this machine")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parent = int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
            title = (folder / "cmdline").read_bytes()
            if parent == server.pid and b"postgres: " in title and b"127.0.0.1(" in title:
                found.append(int(folder.name))
    return found


@contextlib.asynccontextmanager
async def trace(
    folder: Path, pids: Sequence[int], inject: str, *, children: bool
) -> AsyncIterator[Trace]:
    """Attach to processes for the length of the block.

    Args:
        folder: For what strace writes.
        pids: Of the processes.
        inject: What to do to which calls, as ``strace -e inject=`` takes it.
        children: Whether processes that they fork are meant as well.

    Raises:
        NotMade: There is no strace, or it may not attach; says why.
    """
    program = shutil.which("strace")
    if program is None:
        raise NotMade("there is no strace on this machine")
    if not pids:
        raise NotMade("no process to attach to")
    output, errors = folder / "strace.out", folder / "strace.err"
    with errors.open("wb") as complaints:
        output.write_bytes(b"")
        process = await asyncio.create_subprocess_exec(
            program,
            *(["-f"] if children else []),
            *("-o", str(output), "-e", f"trace={inject.partition(':')[0]}"),
            *("-e", f"inject={inject}"),
            *(argument for pid in pids for argument in ("-p", str(pid))),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=complaints,
            start_new_session=True,
        )
    warden().process(process.pid)
    tracing = Trace(process, output, errors)
    try:
        await _attached(tracing, pids)
        yield tracing
    finally:
        await tracing.end()


async def _attached(tracing: Trace, pids: Sequence[int]) -> None:
    for _ in range(int(_ATTACH_SECONDS / _LOOK_EVERY)):
        if all(_is_traced(pid) for pid in pids):
            return
        if not tracing.running:
            break
        await asyncio.sleep(_LOOK_EVERY)
    if not any(_is_traced(pid) for pid in pids):
        raise NotMade(f"strace cannot attach: {tracing.complaint}")


def _is_traced(pid: int) -> bool:
    """Whether somebody traces it, or it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    return "\nTracerPid:\t0\n" not in status
