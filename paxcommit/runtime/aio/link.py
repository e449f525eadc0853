"""One dedicated, self-healing connection: to an acceptor, or standing at a participant (R26, R27).

A link connects in the background and keeps trying.  What is asked of it while it is down fails at
once: the machines that ask have better things to do than to wait for one server.  Requests to an
acceptor that queue up while one call is in flight travel together in the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import tenacity

from paxcommit.ports import AsyncSession
from paxcommit.protocol.messages import AcceptorAnswer, Conflict, NoAnswer, Request
from paxcommit.runtime.aio.limit import Limit
from paxcommit.runtime.aio.run import run_statements
from paxcommit.runtime.links import FAILURES, LinkPlan
from paxcommit.runtime.timing import MAX_BATCH, MAX_QUEUED, reconnect_wait
from paxcommit.sql.statement import Statements, Unanswered

__all__ = ["Link"]

_log = logging.getLogger("paxcommit.link")
_T = TypeVar("_T")


class _Job:
    """Either statements to run, or a request to batch."""

    __slots__ = ("future", "what")

    def __init__(self, what: Statements[Any] | Request) -> None:
        self.what = what
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def resolve(self, value: object) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, server: str, error: Exception) -> None:
        """End in `error`; for a request, what can go wrong on a link is a `NoAnswer`."""
        if isinstance(self.what, Request) and isinstance(error, FAILURES):
            self.resolve(NoAnswer(self.what.txid, server, str(error)))
        elif not self.future.done():
            self.future.set_exception(error)


class Link:
    """See the module.

    Args:
        plan: What it is for.
        connect: Opens one session.
    """

    def __init__(self, plan: LinkPlan, connect: Callable[[], Awaitable[AsyncSession]]) -> None:
        self._plan = plan
        self._connect = connect
        self._jobs: deque[_Job] = deque()
        self._work_to_do = asyncio.Event()
        self._session: AsyncSession | None = None
        self._first_attempt = asyncio.Event()
        self._why_down: str | None = None
        self._task = asyncio.create_task(self._work(), name=f"paxcommit link {plan.name}")

    @property
    def why_down(self) -> str | None:
        """Why there is no connection, in words; None while there is one."""
        return self._why_down

    async def tried(self) -> None:
        """Wait until the first attempt to connect has ended, one way or the other."""
        await self._first_attempt.wait()

    async def call(self, statements: Statements[_T]) -> _T:
        """Run statements, after whatever is queued.

        Raises:
            DatabaseError, Unanswered, PaxcommitError: As the statements do; `Unanswered` also
                where there is no connection.
        """
        value: _T = await self._submit(statements)
        return value

    def ask(self, request: Request) -> asyncio.Future[AcceptorAnswer]:
        """Ask the acceptor; whatever goes wrong is a `NoAnswer`."""
        return self._submit(request)

    async def close(self) -> None:
        """End the link; what is queued ends in `Unanswered`."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._lose("closed")
        self._refuse_queued()

    def _submit(self, what: Statements[Any] | Request) -> asyncio.Future[Any]:
        job = _Job(what)
        if self._why_down is not None or self._task.done():
            self._fail(job, self._why_down or "closed")
        elif len(self._jobs) >= MAX_QUEUED:
            self._fail(job, f"{MAX_QUEUED} calls wait already")
        else:
            self._jobs.append(job)
            self._work_to_do.set()
        return job.future

    def _fail(self, job: _Job, reason: str) -> None:
        job.fail(self._plan.server, Unanswered(f"{self._plan.name}: {reason}"))

    # --- the worker -----------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            session = await self._connected()
            if not self._jobs and not await self._wait_for_work():
                with contextlib.suppress(*FAILURES):  # a broken session is replaced next
                    await self._run(session, self._plan.pulse())
            elif self._jobs:
                await self._serve(session, self._next())

    async def _wait_for_work(self) -> bool:
        """Wait until something is asked, at most until the next heartbeat; tell which it was."""
        self._work_to_do.clear()
        try:
            # Not wait_for: it may swallow the cancellation by which `close` ends us.
            async with asyncio.timeout(self._plan.heartbeat):
                await self._work_to_do.wait()
        except TimeoutError:
            return False
        return True

    def _next(self) -> list[_Job]:
        """Take the next statements, or the next request and all that came with it or since."""
        jobs = [self._jobs.popleft()]
        if isinstance(jobs[0].what, Request):
            later: list[_Job] = []
            while self._jobs and len(jobs) < MAX_BATCH:
                job = self._jobs.popleft()
                (jobs if isinstance(job.what, Request) else later).append(job)
            self._jobs.extendleft(reversed(later))
        return jobs

    async def _connected(self) -> AsyncSession:
        if self._session is not None and not self._session.broken:
            return self._session
        self._lose("the connection was lost")
        async for attempt in tenacity.AsyncRetrying(
            wait=reconnect_wait(),
            retry=tenacity.retry_if_exception_type(FAILURES),
            before_sleep=self._failed_to_connect,
        ):
            with attempt:
                session = await self._connect()
                try:
                    await self._run(session, self._plan.setup())
                except BaseException:
                    session.discard()
                    raise
                self._session = session
        self._why_down = None
        self._first_attempt.set()
        _log.debug("link to %s is up", self._plan.name)
        return session

    def _failed_to_connect(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        reason = str(error)
        if reason != self._why_down:
            _log.warning("no connection to %s: %s", self._plan.name, reason)
        self._why_down = reason
        self._first_attempt.set()
        self._refuse_queued()

    async def _serve(self, session: AsyncSession, jobs: list[_Job]) -> None:
        try:
            if isinstance(jobs[0].what, Request):
                requests = [job.what for job in jobs if isinstance(job.what, Request)]
                answers = await self._run(session, self._plan.batch(requests))
                for job, answer in zip(jobs, answers, strict=True):
                    if isinstance(answer, Conflict):  # R10: somebody broke R6
                        _log.error(
                            "%s reports two values at one ballot: %s", self._plan.name, answer
                        )
                    job.resolve(answer)
            else:
                jobs[0].resolve(await self._run(session, jobs[0].what))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the link lives on
            for job in jobs:
                job.fail(self._plan.server, error)
        except BaseException:
            for job in jobs:
                self._fail(job, "closed")
            raise

    async def _run(self, session: AsyncSession, statements: Statements[_T]) -> _T:
        with Limit(session, self._plan.timeout):
            return await run_statements(session, statements)

    def _lose(self, reason: str) -> None:
        if self._session is not None:
            _log.debug("link to %s is down: %s", self._plan.name, reason)
            self._session.discard()
            self._session = None
            self._plan.down()

    def _refuse_queued(self) -> None:
        while self._jobs:
            self._fail(self._jobs.popleft(), str(self._why_down))
