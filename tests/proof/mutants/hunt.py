"""Hunting mutants: each is tried on the tools that it names, in order, until one kills it.

"Killed" means something only if the same tool, with the same arguments, lets the original pass;
so every run that killed is repeated on the unchanged tree.
"""

from __future__ import annotations

import itertools
import queue
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.proof.mutants.mutant import Killer, Mutant, Stale, apply, test
from tests.proof.mutants.servers import Lender
from tests.proof.mutants.tools import use
from tests.proof.mutants.tree import Tree, end_running

__all__ = ["Fate", "Report", "hunt"]

_TESTS_AT_ONCE = 40
"""Node ids in one run of pytest on the unchanged tree."""

_PATIENCE = 900.0
"""Seconds for one run there: it has to look at everything."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one mutant.

    Attributes:
        mutant: Which.
        fate: ``killed``; ``survived``: every tool passed; ``stale``: it does not fit the source;
            ``trouble``: no tool killed it, and one of them could not tell.
        by: The tool that killed it.
        after: How much that had looked at.
        said: The violation, or what went wrong.
        seconds: For all its runs.
    """

    mutant: Mutant
    fate: Literal["killed", "survived", "stale", "trouble"]
    by: Killer | None
    after: str
    said: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a hunt.

    Attributes:
        fates: By mutant.
        unsound: Killers that do not let the original pass either, and what they say.
    """

    fates: Mapping[str, Fate]
    unsound: Mapping[str, str]

    @property
    def killed(self) -> int:
        """How many were."""
        return sum(fate.fate == "killed" for fate in self.fates.values())

    @property
    def ok(self) -> bool:
        """Whether every mutant is dead, and every killer lets the original live."""
        return self.killed == len(self.fates) and not self.unsound


def hunt(
    mutants: Sequence[Mutant],
    *,
    jobs: int,
    tool: str | None = None,
    tell: Callable[[Fate], None] = lambda _: None,
) -> Report:
    """Hunt them.

    Args:
        mutants: Which.
        jobs: How many at a time.
        tool: Try this tool alone; mutants that do not name it are left out.
        tell: Hears of each fate, in the order in which they come about.
    """
    wanted = [(m, [k for k in m.killers if tool in (None, k.tool)]) for m in mutants]
    with tempfile.TemporaryDirectory(prefix="paxcommit-mutants-") as folder:
        ground = _Ground(Path(folder), jobs)

        def one(mutant: Mutant, killers: Sequence[Killer]) -> Fate:
            with ground.plot() as (tree, lender):
                fate = _hunt_one(tree, lender, mutant, killers)
            tell(fate)
            return fate

        with ground, ThreadPoolExecutor(jobs) as pool:
            try:
                runs = [pool.submit(one, mutant, killers) for mutant, killers in wanted if killers]
                fates = {run.result().mutant.name: run.result() for run in runs}
                killers = [fate.by for fate in fates.values() if fate.by is not None]
                answers = pool.map(lambda killer: _on_original(ground, killer), _together(killers))
                unsound = {name: said for each in answers for name, said in each.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_running()
                raise
    return Report(fates, unsound)


class _Ground:
    """Where mutants live: a compiled copy of the original, and servers for each line of work."""

    def __init__(self, folder: Path, lines: int) -> None:
        self._folder = folder
        self._original = Tree.plant(folder / "original")
        self._number = itertools.count(1)
        self._lenders: queue.SimpleQueue[Lender] = queue.SimpleQueue()
        self._all = [Lender() for _ in range(lines)]
        for lender in self._all:
            self._lenders.put(lender)

    @contextmanager
    def plot(self) -> Iterator[tuple[Tree, Lender]]:
        """A copy to change, and servers to use."""
        lender = self._lenders.get()
        tree = self._original.graft(self._folder / str(next(self._number)))
        try:
            yield tree, lender
        finally:
            shutil.rmtree(tree.root)
            self._lenders.put(lender)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        for lender in self._all:
            lender.close()


def _hunt_one(tree: Tree, lender: Lender, mutant: Mutant, killers: Sequence[Killer]) -> Fate:
    begun = time.monotonic()
    trouble = ""
    try:
        apply(tree.root, mutant)
        for killer in killers:
            answer = use(killer, tree, lender)
            if answer.verdict == "killed":
                took = time.monotonic() - begun
                return Fate(mutant, "killed", killer, answer.after, answer.said, took)
            if answer.verdict == "trouble":
                trouble = f"{killer}: {answer.said}"
        fate: Literal["trouble", "survived"] = "trouble" if trouble else "survived"
        return Fate(mutant, fate, None, "", trouble, time.monotonic() - begun)
    except Stale as error:
        return Fate(mutant, "stale", None, "", str(error), time.monotonic() - begun)


def _together(killers: Iterable[Killer]) -> list[Killer]:
    """Each run once; tests together, for it is their servers that take time to start."""
    different = sorted(set(killers), key=str)
    nodes = sorted({node for killer in different if killer.tool == "test" for node in killer.what})
    chunks = range(0, len(nodes), _TESTS_AT_ONCE)
    return [
        *(killer for killer in different if killer.tool != "test"),
        *(test(*nodes[at : at + _TESTS_AT_ONCE]) for at in chunks),
    ]


def _on_original(ground: _Ground, killer: Killer) -> Mapping[str, str]:
    with ground.plot() as (tree, lender):
        answer = use(killer, tree, lender, _PATIENCE)
    return {} if answer.verdict == "passed" else {str(killer): answer.said}
