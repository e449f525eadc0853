"""A small guardian process that outlives this one just long enough to clean up after it.

However this process ends (also by SIGKILL), the pipe to the warden ends with it; the warden then
shuts down the servers it was told of and removes their folders.  Unlike a parent-death signal it
works from every thread, on every POSIX system, and takes the files along too (trap 37).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

from paxcommit.testing import _warden_main

__all__ = ["Warden", "warden"]


class Warden:
    """Watches over the processes and folders of this process; use `warden` to get the only one.

    Attributes:
        pid: Of the guardian process.
    """

    def __init__(self) -> None:
        self._owner = os.getpid()
        # its own session: a Ctrl-C in the terminal is for this process, not for the warden
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(_warden_main.__file__))],
            bufsize=0,  # one line, one write: nothing half-sent for a forked child to repeat
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        self.pid = self._process.pid
        atexit.register(self.close)

    def process(self, pid: int) -> None:
        """End process `pid` should this process end before it."""
        self._tell(f"process {pid}")

    def ended(self, pid: int) -> None:
        """Forget process `pid`, which has ended: its number may be given to another one."""
        self._tell(f"ended {pid}")

    def folder(self, path: Path) -> None:
        """Remove the folder `path` should this process not do so itself."""
        self._tell(f"folder {path}")

    def removed(self, path: Path) -> None:
        """Forget the folder `path`, which is gone."""
        self._tell(f"removed {path}")

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is None or pipe.closed or os.getpid() != self._owner:
            return
        with contextlib.suppress(BrokenPipeError):  # it is a backstop: tests can do without
            pipe.write(os.fsencode(line) + b"\n")

    def abandon(self) -> None:
        """In a forked child: let go of the pipe, or the parent's end would not be its end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.returncode = 0  # not this process's child, so no concern of its Popen

    def close(self) -> None:
        """Have the warden clean up whatever is left, and wait for it."""
        if os.getpid() != self._owner or self._process.stdin is None:
            return
        self._process.stdin.close()
        self._process.wait()


_current: Warden | None = None
_creation = threading.Lock()


def warden() -> Warden:
    """Return this process's warden, started when it is first needed."""
    global _current  # noqa: PLW0603 - one process, one warden
    with _creation:
        if _current is None:
            _current = Warden()
        return _current


def _after_fork() -> None:
    global _current, _creation  # noqa: PLW0603 - the child's own
    _creation = threading.Lock()
    if _current is not None:
        _current.abandon()
        _current = None


os.register_at_fork(after_in_child=_after_fork)
