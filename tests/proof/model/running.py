"""Running scopes, two at a time, and comparing what they find with what is pinned."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.proof.model.explorer import Explored, Space, explore
from tests.proof.model.healing import Healing
from tests.proof.model.paper import Paper
from tests.proof.model.scope import Scope
from tests.proof.model.world import World

__all__ = ["COUNT", "LIMIT", "Result", "run_all", "run_scope"]

COUNT = "count"
"""The violation of a scope whose number of states is not the pinned one."""

LIMIT = "limit"
"""The violation of a scope that has far more states than it ever had."""

_MOST = 5_000_000
"""States that a scope without a pinned number may have."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one scope.

    Attributes:
        name: The scope.
        states: Distinct states seen, until a violation if there is one.
        depth: Steps to the farthest.
        seconds: It took.
        violation: In words, `COUNT`, or `LIMIT`; None if all is well.
        trace: The shortest way to the violation, a line a step.
    """

    name: str
    states: int
    depth: int
    seconds: float
    violation: str | None = None
    trace: tuple[str, ...] = ()


def run_scope(scope: Scope, *, pinned: bool = True) -> Result:
    """Explore one scope, all of it.

    Args:
        scope: The scope.
        pinned: Whether another number of states than the pinned one is a violation.
    """
    begun = time.monotonic()
    space: Space[Any]
    then = None
    if scope.name == "paper":
        space = Paper()
    else:
        space = world = World(scope)
        then = Healing(world).heal if scope.heals else None
    limit = _MOST if scope.states is None else 5 * scope.states + 50_000
    try:
        found: Explored[Any] = explore(space, limit, then=then)
    except OverflowError:
        return Result(scope.name, limit, 0, time.monotonic() - begun, LIMIT)
    seconds = time.monotonic() - begun
    if found.violation is not None:
        # What is said of how it goes on belongs behind the way there.
        what, *goes_on = found.violation.what.split("\n")
        trace = (*found.violation.trace, *goes_on)
        return Result(scope.name, found.states, found.depth, seconds, what, trace)
    wrong = COUNT if pinned and scope.states not in (None, found.states) else None
    return Result(scope.name, found.states, found.depth, seconds, wrong)


def run_all(scopes: Sequence[Scope], *, pinned: bool = True, workers: int = 2) -> Iterator[Result]:
    """Explore scopes, each in a process of its own, the largest first; results as they come."""
    scopes = sorted(scopes, key=lambda scope: -(scope.states or 0))
    if len(scopes) == 1 or workers == 1:
        for scope in scopes:
            yield run_scope(scope, pinned=pinned)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(workers, maxtasksperchild=1) as pool:
        yield from pool.imap_unordered(_Run(pinned), scopes, chunksize=1)


@dataclass(frozen=True)
class _Run:
    pinned: bool

    def __call__(self, scope: Scope) -> Result:
        return run_scope(scope, pinned=self.pinned)
