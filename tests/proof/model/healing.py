"""Liveness: from every state, once nothing goes wrong any more, all is decided, applied, unlocked.

Nothing is lost and nobody dies from there on; whatever is under way arrives, one thing after the
other, and time passes only when nothing else happens.  As long as a gid is left, a recoverer takes
it up; at the end somebody forces an outcome, which must not stay open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from paxcommit.protocol.effects import BackoffOver
from tests.proof.model.words import line

if TYPE_CHECKING:
    from tests.proof.model.world import Move, State, World

__all__ = ["Healing"]

_PLENTY = 60
_ALL_TIMERS = ("deadline", "finish", "give-up")


class Healing:
    """Heals states of one world, and remembers which are known to heal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[State, str | None] = {}

    def heal(self, state: State) -> str | None:
        """Tell why this state does not come to a good end, or None: it does."""
        with self._fair_weather():
            wrong = self._run(state)
            if wrong is None:
                return None
            return "\n".join([wrong, *self._continuation(state)])

    def _run(self, state: State) -> str | None:
        path: list[State] = []
        state = self._fair(state)
        wrong: str | None = None
        while state not in self._known:
            path.append(state)
            self._known[state] = "it never ends: it goes round in circles"
            found = self._next(state)
            if found is None:
                wrong = self._end(state)
                break
            state = self._fair(found[2])
            if (wrong := self._world.check(state)) is not None:
                break
        else:
            wrong = self._known[state]
        for each in path:
            self._known[each] = wrong
        return wrong

    def _fair(self, state: State) -> State:
        """With as many repetitions as it takes, and no faults; acceptors renamed as usual."""
        return self._world.canonical(self._plentiful(state))

    def _plentiful(self, state: State) -> State:
        return self._world.with_left(state, births=1, rebids=_PLENTY, retries=_PLENTY)

    def _continuation(self, state: State) -> Iterator[str]:
        """Say how it goes on from a state that does not heal."""
        yield "From there on nothing goes wrong any more, and yet:"
        for _ in range(_PLENTY):
            found = self._next(self._plentiful(state))
            if found is None:
                return
            yield "  " + line(self._world, *found)
            state = found[2]
            if self._world.check(state) is not None:
                return
        yield "  ..."

    def _next(self, state: State) -> tuple[State, Move, State] | None:
        """The one thing that happens next, and from where, or None: everything is over."""
        world = self._world
        quiet = world.with_left(state, rebids=_PLENTY, retries=_PLENTY)
        patient = [(move, after) for move, after in world.steps(quiet) if move[0] != "break"]
        for move, after in patient:
            if move[0] != "timer":
                return quiet, move, after
        for move, after in patient:  # backoffs first: time-outs are far longer
            if isinstance(world.events[int(move[2])], BackoffOver):
                return quiet, move, after
        for move, after in patient:
            return quiet, move, after
        wanted = "LEAD" if world.prepared(state) else "FORCE"
        if wanted == "LEAD" or not world.resolved(state):
            for move, after in world.births(state, wanted):
                return state, move, after
        return None

    def _end(self, state: State) -> str | None:
        if left := self._world.prepared(state):
            return f"it never ends: a gid is left at {', '.join(left)}"
        if not self._world.resolved(state):
            return "it never ends: the outcome stays open, though it is forced"
        return None

    @contextmanager
    def _fair_weather(self) -> Iterator[None]:
        scope = self._world.scope
        self._world.scope = replace(scope, top=10**6, timers=_ALL_TIMERS)
        try:
            yield
        finally:
            self._world.scope = scope
