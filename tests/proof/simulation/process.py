"""Processes: what they hold (membership, links), and how they die, stall and come back."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from paxcommit.runtime.links import plan_link
from paxcommit.runtime.membership import Membership, Site
from paxcommit.runtime.plan import Ask, Step, Where, acceptor
from paxcommit.runtime.preference import Choice, Preference
from paxcommit.runtime.timing import Timing
from paxcommit.settings import Settings
from paxcommit.sql.statement import Unanswered
from tests.proof.simulation.network import Done, Link
from tests.proof.simulation.pool import Thing

if TYPE_CHECKING:
    from tests.proof.simulation.world import World

__all__ = ["SETTINGS", "Process"]

DEADLINE = 5.0
SETTINGS = cast(Settings, SimpleNamespace(deadline=DEADLINE))
"""All that resolving asks of the settings."""

_TIMING = Timing()


class Whim(Preference):
    """Prefers any acceptors, and hedges or not.

    Args:
        world: Draws.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world.acceptor_names, lambda: 0.0)
        self._pool = world.pool

    def choose(self, admitted: Collection[str], limit: float) -> Choice:
        """See `Preference.choose`."""
        names = sorted(self._estimates)
        at = self._pool.pick(range(len(names)))
        return Choice(tuple(names[at:] + names[:at]), 0.0 if self._pool.chance(0.4) else 1.0)


class Process:
    """One operating system process of a user: a coordinator or a recoverer.

    Args:
        world: Where it lives.
        name: For the trace.
        coordinator: Its incarnation, None for a recoverer.
    """

    def __init__(self, world: World, name: str, coordinator: int | None) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.stalled = False
        self.inbox: list[Thing] = []
        self.links: dict[Where, Link] = {}
        self.told_marks: dict[str, int] = {}
        self.members = Membership(
            "sim", world.acceptor_names, {name: Site("", None) for name in world.names}, coordinator
        )
        self.members.preference = Whim(world)
        self.members._record = world.record  # pinning has its tests on real servers
        self.members._registered = frozenset(world.registered)
        if coordinator is not None:  # the others connect when they are first needed
            for each in world.acceptor_names:
                self.link(acceptor(each))

    def link(self, where: Where) -> Link:
        """The link of that purpose, made when it is first needed."""
        link = self.links.get(where)
        if link is None:
            _, plan = plan_link(where, self.members, self.world.dsns, _TIMING)
            link = Link(self, self.world.server(self, where.name), plan)
            self.links[where] = link
        return link

    def perform(self, step: Step, done: Done) -> None:
        """Perform one step of a plan."""
        if isinstance(step, Ask):
            self.link(acceptor(step.acceptor)).submit(step.request, done)
        elif step.where.kind == "branch":
            done(Unanswered("a recoverer has no branches"))
        else:
            self.link(step.where).submit(step.statements, done)

    # --- life -----------------------------------------------------------------------------------

    def post(self, thing: Thing) -> None:
        """Let something happen in this process: now, when it goes on, or never."""
        if self.stalled:
            self.inbox.append(thing)
        elif self.alive:
            thing()

    def die(self) -> None:
        """SIGKILL: what it has sent goes on without it."""
        self.say("dies")
        self.world.marks.add("process: died")
        self.alive = False
        self.stalled = False
        self.inbox.clear()
        for connection in self.connections():
            connection.close()

    def stall(self) -> None:
        """SIGSTOP."""
        self.say("stalls")
        self.stalled = True

    def resume(self) -> None:
        """SIGCONT: it goes on where it was (trap 30)."""
        if not self.stalled:
            return
        self.say("goes on")
        self.stalled = False
        if self.inbox:
            self.world.marks.add("process: stalled and went on")
        pool = self.world.pool
        for thing in self.inbox:
            pool.soon.append(partial(self.post, thing))
        self.inbox = []

    def connections(self) -> list[Any]:
        """Every connection that it holds."""
        return [link.connection for link in self.links.values() if link.connection is not None]

    def heard(self, server: str, mark: int) -> None:
        """Note a mark that an acceptor has told (R13); the product notes it for itself."""
        if mark > self.told_marks.get(server, 0):
            self.told_marks[server] = mark

    def reconnect(self) -> None:
        """Try every link that is down."""
        for link in list(self.links.values()):
            link.connect()

    def say(self, what: str) -> None:
        """Add to the trace."""
        if self.world.pool.trace is not None:
            self.world.pool.say(f"{self.name} {what}")
