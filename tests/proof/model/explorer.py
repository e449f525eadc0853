"""Breadth-first exploration of everything that can happen; the first violation is the nearest."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Explored", "Space", "Violation", "explore"]

S = TypeVar("S", bound=Hashable)


class Space(Protocol[S]):
    """States, and what can happen in each."""

    def initial(self) -> S:
        """Where it begins."""

    def moves(self, state: S) -> Iterable[S]:
        """All that can come next, in an order that does not depend on hashes."""

    def check(self, state: S) -> str | None:
        """What is wrong with this state, in words; None if nothing is."""

    def trace(self, path: Sequence[S]) -> list[str]:
        """Say in words what happened along a path that begins in the initial state."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be, and the shortest way there.

    Attributes:
        what: What is wrong.
        trace: How it came about, a line a step.
    """

    what: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explored(Generic[S]):
    """What an exploration found.

    Attributes:
        states: Distinct states seen.
        depth: Steps to the farthest of them.
        violation: The nearest violation, or None; exploration ends with it.
    """

    states: int
    depth: int
    violation: Violation | None = None


def explore(
    space: Space[S],
    limit: int | None = None,
    *,
    then: Callable[[S], str | None] | None = None,
) -> Explored[S]:
    """Visit every state that can be reached, nearest first.

    Args:
        space: What to explore.
        limit: States after which to stop, or None: never.
        then: A second check, dearer than the space's own: once that holds everywhere, every state
            is visited again.

    Raises:
        OverflowError: There are more states than `limit`.
    """
    first = space.initial()
    if (wrong := space.check(first)) is not None:
        return Explored(1, 0, Violation(wrong, ()))
    seen = {first}
    order = [first]
    parents = array("q", [-1])
    depth, ends_at = 0, 1
    position = 0
    while position < len(order):
        if position == ends_at:
            depth, ends_at = depth + 1, len(order)
        for state in space.moves(order[position]):
            if state in seen:
                continue
            seen.add(state)
            order.append(state)
            parents.append(position)
            if (wrong := space.check(state)) is not None:
                trace = space.trace(_path(order, parents, len(order) - 1))
                return Explored(len(order), depth + 1, Violation(wrong, tuple(trace)))
        position += 1
        if limit is not None and len(order) > limit:
            raise OverflowError(f"more than {limit:,} states")
    for position, state in enumerate(order if then is not None else ()):
        if then is not None and (wrong := then(state)) is not None:
            trace = space.trace(_path(order, parents, position))
            return Explored(len(order), depth, Violation(wrong, tuple(trace)))
    return Explored(len(order), depth)


def _path(order: Sequence[S], parents: Sequence[int], position: int) -> list[S]:
    """The way to the state at `position`."""
    path = []
    while position >= 0:
        path.append(order[position])
        position = parents[position]
    return path[::-1]
