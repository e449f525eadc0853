"""One dedicated, self-healing connection: to an acceptor, or standing at a participant (R26, R27).

A link connects in the background and keeps trying.  What is asked of it while it is down fails at
once: the machines that ask have better things to do than to wait for one server.  Requests to an
acceptor that queue up while one call is in flight travel together in the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import tenacity

from paxcommit.ports import AsyncSession
from paxcommit.protocol.messages import AcceptorAnswer, Conflict, NoAnswer, Request
from paxcommit.runtime.aio.run import run_statements
from paxcommit.runtime.links import FAILURES, LinkPlan
from paxcommit.runtime.timing import MAX_BATCH, reconnect_wait
from paxcommit.sql.statement import Statements, Unanswered

__all__ = ["Link"]

_log = logging.getLogger("paxcommit.link")
_T = TypeVar("_T")


@dataclass(slots=True)
class _Job:
    """Either statements to run, or a request to batch."""

    what: Statements[Any] | Request
    future: asyncio.Future[Any] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def resolve(self, value: object) -> None:
        if not self.future.done():
            self.future.set_result(value)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
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
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
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
        job = self._submit(statements)
        value: _T = await job.future
        return value

    async def ask(self, request: Request) -> AcceptorAnswer:
        """Ask the acceptor; whatever goes wrong is a `NoAnswer`."""
        try:
            answer: AcceptorAnswer = await self._submit(request).future
        except FAILURES as error:
            return NoAnswer(request.txid, self._plan.server, str(error))
        if isinstance(answer, Conflict):  # R10: somebody broke R6
            _log.error("%s reports two values at one ballot: %s", self._plan.name, answer)
        return answer

    async def close(self) -> None:
        """End the link; what is queued ends in `Unanswered`."""
        self._task.cancel()
        await asyncio.wait([self._task])
        self._lose("closed")
        self._refuse_queued()

    def _submit(self, what: Statements[Any] | Request) -> _Job:
        job = _Job(what)
        if self._why_down is not None or self._task.done():
            job.fail(Unanswered(f"{self._plan.name}: {self._why_down or 'closed'}"))
        else:
            self._jobs.put_nowait(job)
        return job

    # --- the worker -----------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            session = await self._connected()
            try:
                # Not wait_for: it may swallow the cancellation by which `close` ends us.
                async with asyncio.timeout(self._plan.heartbeat):
                    job = await self._jobs.get()
            except TimeoutError:
                with contextlib.suppress(*FAILURES):  # a broken session is replaced next
                    await self._run(session, self._plan.pulse())
                continue
            await self._serve(session, job)

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
                    async with asyncio.timeout(self._plan.timeout):
                        await run_statements(session, self._plan.setup())
                except TimeoutError as error:
                    session.discard()
                    raise Unanswered("no answer in time while connecting") from error
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

    async def _serve(self, session: AsyncSession, job: _Job) -> None:
        """Serve a job; if it is a request, together with all that wait behind it."""
        jobs = [job]
        try:
            if isinstance(job.what, Request):
                answers = await self._run(session, self._batch(jobs))
                for each, answer in zip(jobs, answers, strict=True):
                    each.resolve(answer)
            else:
                job.resolve(await self._run(session, job.what))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it; the link lives on
            for each in jobs:
                each.fail(error)
        except BaseException:
            for each in jobs:
                each.fail(Unanswered(f"{self._plan.name}: closed"))
            raise

    def _batch(self, jobs: list[_Job]) -> Statements[list[AcceptorAnswer]]:
        """Add the requests that wait to `jobs`, and make one call of them."""
        later: list[_Job] = []
        while len(jobs) < MAX_BATCH and not self._jobs.empty():
            job = self._jobs.get_nowait()
            (jobs if isinstance(job.what, Request) else later).append(job)
        for job in later:
            self._jobs.put_nowait(job)
        return self._plan.batch([job.what for job in jobs if isinstance(job.what, Request)])

    async def _run(self, session: AsyncSession, statements: Statements[_T]) -> _T:
        try:
            async with asyncio.timeout(self._plan.timeout):
                return await run_statements(session, statements)
        except TimeoutError:
            session.discard()
            raise Unanswered(f"{self._plan.name}: no answer in {self._plan.timeout:g} s") from None
        except asyncio.CancelledError:
            session.discard()
            raise

    def _lose(self, reason: str) -> None:
        if self._session is not None:
            _log.debug("link to %s is down: %s", self._plan.name, reason)
            self._session.discard()
            self._session = None
            self._plan.down()

    def _refuse_queued(self) -> None:
        while not self._jobs.empty():
            self._jobs.get_nowait().fail(Unanswered(f"{self._plan.name}: {self._why_down}"))
