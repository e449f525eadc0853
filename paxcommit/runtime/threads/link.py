"""One dedicated, self-healing connection on a thread of its own (R26, R27); see `..aio.link`."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tenacity

from paxcommit.ports import SyncSession
from paxcommit.protocol.messages import AcceptorAnswer, Conflict, NoAnswer, Request
from paxcommit.runtime.links import FAILURES, LinkPlan
from paxcommit.runtime.threads.run import run_statements
from paxcommit.runtime.threads.watchdog import Watchdog
from paxcommit.runtime.timing import MAX_BATCH, reconnect_wait
from paxcommit.sql.statement import Statements, Unanswered

__all__ = ["Link"]

_log = logging.getLogger("paxcommit.link")
_T = TypeVar("_T")


@dataclass(slots=True)
class _Job:
    """Either statements to run, or a request to batch."""

    what: Statements[Any] | Request
    future: Future[Any] = field(default_factory=Future)


class _Closing(Exception):
    """The link is being closed."""


class Link:
    """See the module.

    Args:
        plan: What it is for.
        connect: Opens one session.
        watchdog: Limits calls in time.
    """

    def __init__(
        self, plan: LinkPlan, connect: Callable[[], SyncSession], watchdog: Watchdog
    ) -> None:
        self._plan = plan
        self._connect = connect
        self._watchdog = watchdog
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._session: SyncSession | None = None
        self._first_attempt = threading.Event()
        self._closing = threading.Event()
        self._why_down: str | None = None
        self._thread = threading.Thread(
            target=self._work, name=f"paxcommit link {plan.name}", daemon=True
        )
        self._thread.start()

    @property
    def why_down(self) -> str | None:
        """Why there is no connection, in words; None while there is one."""
        return self._why_down

    def tried(self) -> None:
        """Wait until the first attempt to connect has ended, one way or the other."""
        self._first_attempt.wait()

    def call(self, statements: Statements[_T]) -> _T:
        """Run statements, after whatever is queued.

        Raises:
            DatabaseError, Unanswered, PaxcommitError: As the statements do; `Unanswered` also
                where there is no connection.
        """
        value: _T = self._submit(statements).result()
        return value

    def ask(self, request: Request) -> AcceptorAnswer:
        """Ask the acceptor; whatever goes wrong is a `NoAnswer`."""
        try:
            answer: AcceptorAnswer = self._submit(request).result()
        except FAILURES as error:
            return NoAnswer(request.txid, self._plan.server, str(error))
        if isinstance(answer, Conflict):  # R10: somebody broke R6
            _log.error("%s reports two values at one ballot: %s", self._plan.name, answer)
        return answer

    def close(self) -> None:
        """End the link; what is queued ends in `Unanswered`."""
        self._why_down = "closed"
        self._closing.set()
        self._jobs.put(None)
        if self._session is not None:
            self._session.discard()
        self._thread.join(self._plan.timeout)
        self._refuse_queued()

    def _submit(self, what: Statements[Any] | Request) -> Future[Any]:
        job = _Job(what)
        self._jobs.put(job)
        if self._why_down is not None or self._closing.is_set():
            self._refuse_queued()
        return job.future

    # --- the worker -----------------------------------------------------------------------------

    def _work(self) -> None:
        with contextlib.suppress(_Closing):
            while True:
                session = self._connected()
                try:
                    job = self._jobs.get(timeout=self._plan.heartbeat)
                except queue.Empty:
                    with contextlib.suppress(*FAILURES):  # a broken session is replaced next
                        self._run(session, self._plan.pulse())
                    continue
                if job is not None:
                    self._serve(session, job)
        self._lose("closed")

    def _connected(self) -> SyncSession:
        if self._closing.is_set():
            raise _Closing
        if self._session is not None and not self._session.broken:
            return self._session
        self._lose("the connection was lost")
        for attempt in tenacity.Retrying(
            wait=reconnect_wait(),
            retry=tenacity.retry_if_exception_type(FAILURES),
            before_sleep=self._failed_to_connect,
            sleep=self._pause,
        ):
            with attempt:
                session = self._connect()
                try:
                    self._run(session, self._plan.setup())
                except BaseException:
                    session.discard()
                    raise
                self._session = session
        if self._closing.is_set():
            raise _Closing
        self._why_down = None
        self._first_attempt.set()
        _log.debug("link to %s is up", self._plan.name)
        return session

    def _pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise _Closing

    def _failed_to_connect(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        reason = str(error)
        if reason != self._why_down and not self._closing.is_set():
            _log.warning("no connection to %s: %s", self._plan.name, reason)
        self._why_down = reason
        self._first_attempt.set()
        self._refuse_queued()

    def _serve(self, session: SyncSession, job: _Job) -> None:
        """Serve a job; if it is a request, together with all that wait behind it."""
        jobs = [job]
        try:
            if isinstance(job.what, Request):
                answers = self._run(session, self._batch(jobs))
                for each, answer in zip(jobs, answers, strict=True):
                    each.future.set_result(answer)
            else:
                job.future.set_result(self._run(session, job.what))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the link lives on
            for each in jobs:
                each.future.set_exception(error)

    def _batch(self, jobs: list[_Job]) -> Statements[list[AcceptorAnswer]]:
        """Add the requests that wait to `jobs`, and make one call of them."""
        later: list[_Job | None] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < MAX_BATCH:
                job = self._jobs.get_nowait()
                if job is not None and isinstance(job.what, Request):
                    jobs.append(job)
                else:
                    later.append(job)
        for other in later:
            self._jobs.put(other)
        return self._plan.batch([job.what for job in jobs if isinstance(job.what, Request)])

    def _run(self, session: SyncSession, statements: Statements[_T]) -> _T:
        with self._watchdog.limit(self._plan.timeout, session.discard):
            return run_statements(session, statements)

    def _lose(self, reason: str) -> None:
        if self._session is not None:
            _log.debug("link to %s is down: %s", self._plan.name, reason)
            self._session.discard()
            self._session = None
            self._plan.down()

    def _refuse_queued(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.future.set_exception(Unanswered(f"{self._plan.name}: {self._why_down}"))
