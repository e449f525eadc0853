"""Workers as processes of their own, each with databases of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.queues import SimpleQueue
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any

from .cases import Case
from .stage import Books
from .worker import Run, Worker

__all__ = ["Crew"]

_worker: Worker
"""In a worker's process: the one that it is."""


class Crew:
    """``with Crew(books) as crew``: as many workers as there are books.

    They are forked before this process has a thread (trap 37b), and have none themselves, for
    they fork, too.

    Args:
        books: The databases of each worker, by number of participants.
    """

    def __init__(self, books: Sequence[Mapping[int, Books]]) -> None:
        context = multiprocessing.get_context("fork")
        shelf: SimpleQueue[Any] = context.SimpleQueue()
        for each in books:
            shelf.put(dict(each))
        self._pool = ProcessPoolExecutor(len(books), context, _begin, (shelf,))

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, batches: Iterable[Sequence[Case]]) -> Iterator[Run]:
        """Run each batch in one process, and yield the runs in the order of their cases."""
        for runs in self._pool.map(_run, batches):
            yield from runs


def _begin(shelf: SimpleQueue[Any]) -> None:
    global _worker
    _worker = Worker(shelf.get())
    Finalize(None, _worker.close, exitpriority=0)  # when the process ends


def _run(cases: Sequence[Case]) -> list[Run]:
    return _worker.run(*cases)
