"""What the warden process runs: when its stdin ends, it ends the servers and removes their files.

Started as a script with ``python -I -S``, so it imports nothing of paxcommit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

__all__: list[str] = []

_QUIT_SECONDS = 8.0
_KILL_SECONDS = 4.0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # a zombie whose new parent never reaps it has ended all the same
            return stat.read().rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return os.path.isdir("/proc/self") is False


def _end(pids: Iterable[int], how: signal.Signals, seconds: float) -> set[int]:
    """Signal `pids`; return those that still run after `seconds`."""
    running = set(pids)
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
            os.kill(pid, signal.SIGCONT)
    give_up = time.monotonic() + seconds
    while (running := {pid for pid in running if _runs(pid)}) and time.monotonic() < give_up:
        time.sleep(0.01)
    return running


def _main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    pids: set[int] = set()
    folders: set[str] = set()
    for line in sys.stdin.buffer:
        verb, _, what = os.fsdecode(line.rstrip(b"\n")).partition(" ")
        match verb:
            case "process":
                pids.add(int(what))
            case "ended":
                pids.discard(int(what))
            case "folder":
                folders.add(what)
            case "removed":
                folders.discard(what)
            case _:
                return
    # SIGQUIT is PostgreSQL's immediate shutdown; the postmaster ends its children itself
    _end(_end(pids, signal.SIGQUIT, _QUIT_SECONDS), signal.SIGKILL, _KILL_SECONDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _main()
