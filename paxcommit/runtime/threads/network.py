"""All links of one process, on threads: to every acceptor, and standing at every participant."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from paxcommit.ports import SyncDriver
from paxcommit.protocol.messages import AcceptorName, NoAnswer
from paxcommit.runtime.links import plan_link
from paxcommit.runtime.membership import Membership
from paxcommit.runtime.plan import Ask, Plan, Step, Where, acceptor, standing
from paxcommit.runtime.threads.link import Link
from paxcommit.runtime.threads.run import run_plan
from paxcommit.runtime.threads.watchdog import Watchdog
from paxcommit.runtime.timing import Timing
from paxcommit.sql.statement import Unanswered

__all__ = ["Network"]

_T = TypeVar("_T")

_MAX_THREADS = 1024
"""Started as needed, and bounded; every step under way occupies one."""


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
        driver: SyncDriver,
        members: Membership,
        acceptors: Mapping[AcceptorName, str],
        timing: Timing,
    ) -> None:
        self.members = members
        self.watchdog = Watchdog()
        self.executor = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="paxcommit")
        self._driver = driver
        self._acceptors = acceptors
        self._timing = timing
        self._links: dict[Where, Link] = {}
        self._closed = False
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect; commits go on with F acceptors missing, also at start-up.

        Raises:
            NotEnoughAcceptors, IdentityMismatch: See `Membership.pin`.
        """
        for name in self.members.acceptors:
            self._link(acceptor(name))
        self.run(self.members.pin())
        links = [self._link(standing(name)) for name in self.members.sites]
        for link in links:
            link.tried()

    def run(self, plan: Plan[_T]) -> _T:
        """Run a plan on these links."""
        return run_plan(plan, self.perform, self.executor)

    def perform(self, step: Step) -> Any:
        """Perform one step of a plan."""
        if isinstance(step, Ask):
            try:
                link = self._link(acceptor(step.acceptor))
            except Unanswered as closed:
                return NoAnswer(step.request.txid, step.acceptor, str(closed))
            return link.ask(step.request)
        return self._link(step.where).call(step.statements)

    def close_lanes(self) -> None:
        """Close the connections that are there for a crowd."""
        with self._lock:
            extra = [self._links.pop(where) for where in list(self._links) if where.lane]
        for link in extra:
            link.close()

    def close(self) -> None:
        """Close all links; every incarnation lock is gone with them."""
        with self._lock:
            self._closed = True
            links, self._links = list(self._links.values()), {}
        for link in links:
            link.close()
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.watchdog.close()

    def _link(self, where: Where) -> Link:
        with self._lock:
            if self._closed:
                raise Unanswered("the connections are closed")
            if where not in self._links:
                dsn, plan = plan_link(where, self.members, self._acceptors, self._timing)
                self._links[where] = Link(
                    plan,
                    lambda: self._driver.connect(dsn, timeout=self._timing.connect),
                    self.watchdog,
                )
            return self._links[where]
