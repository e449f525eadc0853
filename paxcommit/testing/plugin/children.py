"""Processes to be killed in the middle of a commit, and what they tell their parent meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from dataclasses import dataclass
from typing import Any

from paxcommit.errors import PaxcommitError
from paxcommit.testing.plugin.arms import Hear

__all__ = ["Child", "ChildFailed", "Ended", "Reporter"]


class ChildFailed(PaxcommitError):
    """The child ended by an error of its own, and not at an armed step; the message has it all."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        killed_at: The step at which it was killed; None if it came to its end.
        value: What its function returned, if that can be said in JSON, else None.
    """

    killed_at: str | None = None
    value: Any = None


class Reporter:
    """The child's end: one line for each thing told, written at once, so that a kill loses none.

    Args:
        fd: The pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell(self, what: str, value: Any = None) -> None:
        """Tell the parent; it may have gone, which is no concern of ours."""
        line = json.dumps([what, value]).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):
            while line:
                line = line[os.write(self._fd, line) :]


class Child:
    """A running child; made by `Failpoints.start` and its like.

    Args:
        pid: Its process id.
        fd: The reading end of the pipe that it tells through; closed here.
        hear: Hears what it reaches and does, on a thread.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, pid: int, fd: int, hear: Hear) -> None:
        self.pid = pid
        self._hear = hear
        self._told: dict[str, Any] = {}
        self._struck = threading.Event()
        self._ended: Ended | None = None
        self._gone = False
        self._thread = threading.Thread(target=self._listen, args=(fd,), daemon=True)
        self._thread.start()

    def wait(self, timeout: float = 60.0) -> Ended:
        """Wait until it ends.

        Blocking; in async tests ``await asyncio.to_thread(child.wait)`` if it needs something from
        this process meanwhile.

        Args:
            timeout: Seconds; then it is killed.

        Raises:
            ChildFailed: Its function raised, it was still running, or something else ended it.
        """
        if self._ended is None:
            self._ended = self._wait(timeout)
        return self._ended

    def wait_stopped(self, timeout: float = 60.0) -> str:
        """Wait until it stands still at a step armed with `Failpoints.stop_at`.

        Returns:
            The step.

        Raises:
            ChildFailed: It ended without.
        """
        if not self._struck.wait(timeout) or "stop" not in self._told:
            self.kill()
            raise ChildFailed("the child did not stop at any step" + self._error())
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._gone = True
            raise ChildFailed("the child is gone, not stopped" + self._error())
        return str(self._told["stop"])

    def resume(self) -> None:
        """Wake it from `Failpoints.stop_at`: it goes on as if no time had passed (trap 30)."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, wherever it is; harmless if it has ended."""
        self._signal(signal.SIGKILL)
        self._reap()

    # --- inside ---------------------------------------------------------------------------------

    def _signal(self, which: signal.Signals) -> None:
        if not self._gone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, which)

    def _reap(self) -> int:
        if self._gone:
            return 0
        _, status = os.waitpid(self.pid, 0)
        self._gone = True
        return os.waitstatus_to_exitcode(status)

    def _wait(self, timeout: float) -> Ended:
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.kill()
            raise ChildFailed(f"the child was still running after {timeout:g} s, and was killed")
        status = self._reap()
        if status == -signal.SIGKILL and "kill" in self._told:
            return Ended(killed_at=str(self._told["kill"]))
        if status != 0 or "raised" in self._told:
            raise ChildFailed(f"the child ended with status {status}" + self._error())
        return Ended(value=self._told.get("returned"))

    def _error(self) -> str:
        return f":\n{self._told['raised']}" if "raised" in self._told else ""

    def _listen(self, fd: int) -> None:
        with open(fd, encoding="utf-8") as lines:
            for line in lines:
                what, value = json.loads(line)
                self._hear(what, value)
                if what == "acted":
                    _, what, value = value
                self._told[what] = value
                if what in ("kill", "stop"):
                    self._struck.set()
        self._struck.set()  # nothing more will come
