"""The measuring process, seen from the one that orders."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from paxcommit.errors import ClusterError
from paxcommit.testing.bench.job import Job, Message, Opened, decode, encode
from paxcommit.testing.warden import warden

__all__ = ["Worker"]

_M = TypeVar("_M", bound=Message)
_LOG_TAIL = 2_000
_END_SECONDS = 30.0


class Worker:
    """A context manager: the process lives as long as it.

    Args:
        job: What it opens.
        program: Which module is its main program.

    Attributes:
        loop: Its event loop.
    """

    def __init__(self, job: Job, program: str = "worker_main") -> None:
        self._job = job
        self._program = program
        self._killed = False
        self.loop = ""

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        # The job is all that it is to know, whatever the caller's environment says.
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PAXCOMMIT_", "PG"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.{self._program}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,  # a Ctrl-C in the terminal is for us
        )
        warden().process(self._process.pid)
        try:
            self.loop = self._ask(self._job, Opened).loop
        except BaseException:
            self._destroy()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and not self._killed and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        status = self._process.poll()
        tail = self._tail()
        self._destroy()
        if error is None and not self._killed and status != 0:
            raise ClusterError(f"{self._job.system} did not end well ({status}): {tail}")

    def order(self, order: Message, answer: type[_M]) -> _M:
        """Give an order, and wait for its answer.

        Raises:
            ClusterError: The process ended by itself.
        """
        return self._ask(order, answer)

    def kill(self) -> None:
        """SIGKILL; it is gone on return."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def _ask(self, message: Message, answer: type[_M]) -> _M:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ClusterError("the measuring process has no pipes")
        try:
            stdin.write(encode(message))
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        told = decode(line) if line else None
        if not isinstance(told, answer):
            self._process.wait(_END_SECONDS)
            raise ClusterError(
                f"measuring {self._job.system} on {self._job.driver} failed: {self._tail()}"
            )
        return told

    def _tail(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-_LOG_TAIL:]

    def _destroy(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        warden().ended(self._process.pid)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
