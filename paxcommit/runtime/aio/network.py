"""All links of one process, on asyncio: to every acceptor, and standing at every participant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from paxcommit.ports import AsyncDriver
from paxcommit.protocol.messages import AcceptorAnswer, AcceptorName, NoAnswer, Request
from paxcommit.runtime.aio.link import Link
from paxcommit.runtime.aio.run import run_plan
from paxcommit.runtime.links import plan_link
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.plan import Ask, Plan, Step, Where, acceptor, standing
from paxcommit.runtime.timing import Timing
from paxcommit.sql.statement import Unanswered

__all__ = ["Network"]

_T = TypeVar("_T")


class Network:
    """See the module.

    Args:
        driver: Opens sessions.
        members: Whom to connect to, and how to prove that it is them.
        acceptors: DSN by acceptor.
        timing: How long to wait.
    """

    def __init__(
        self,
        driver: AsyncDriver,
        members: Membership,
        acceptors: Mapping[AcceptorName, str],
        timing: Timing,
    ) -> None:
        self.members = members
        self._driver = driver
        self._acceptors = acceptors
        self._timing = timing
        self._links: dict[Where, Link] = {}
        self._closed = False

    async def open(self) -> None:
        """Connect; commits go on with F acceptors missing, also at start-up.

        Raises:
            NotEnoughAcceptors, IdentityMismatch: See `Membership.pin`.
        """
        for name in self.members.acceptors:
            self._link(acceptor(name))
        await self.run(self.members.pin())
        links = [self._link(standing(name)) for name in self.members.sites]
        await asyncio.gather(*(link.tried() for link in links))

    async def run(self, plan: Plan[_T]) -> _T:
        """Run a plan on these links."""
        return await run_plan(plan, self.perform)

    def perform(self, step: Step) -> Awaitable[Any]:
        """Perform one step of a plan."""
        if isinstance(step, Ask):
            return self.ask(step.acceptor, step.request)
        return self._link(step.where).call(step.statements)

    def ask(self, name: AcceptorName, request: Request) -> asyncio.Future[AcceptorAnswer]:
        """Send a request to an acceptor; whatever goes wrong is a `NoAnswer`."""
        try:
            return self._link(acceptor(name)).ask(request)
        except Unanswered as closed:
            answered: asyncio.Future[AcceptorAnswer] = asyncio.get_running_loop().create_future()
            answered.set_result(NoAnswer(request.txid, name, str(closed)))
            return answered

    async def close_lanes(self) -> None:
        """Close the connections that are there for a crowd."""
        extra = [where for where in self._links if where.lane]
        await asyncio.gather(*(self._links.pop(where).close() for where in extra))

    async def close(self) -> None:
        """Close all links; every incarnation lock is gone with them."""
        self._closed = True
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.close() for link in links))

    def _link(self, where: Where) -> Link:
        if self._closed:
            raise Unanswered("the connections are closed")
        if where not in self._links:
            self._links[where] = self._make(where)
        return self._links[where]

    def _make(self, where: Where) -> Link:
        dsn, plan = plan_link(where, self.members, self._acceptors, self._timing)
        return Link(plan, lambda: self._driver.connect(dsn, timeout=self._timing.connect))
