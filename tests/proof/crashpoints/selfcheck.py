"""A tool that cannot fail proves nothing: take a cure out, and see that a case notices it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cases import Case
from .children import Tell, fork
from .sabotage import CURES, take_out
from .stage import Books
from .worker import Worker

__all__ = ["NOTICED_BY", "check"]

NOTICED_BY: Mapping[str, str] = {
    # Decided by a1 and a2; the recoverer hears of a3 first, and finds no majority.
    "ballot": "commit,n=2,asyncpg,fifo,coordinator=kill@phase2a@a3.before,recoverer=",
    # Only a1 has voted when it is told; the recoverer's quorum is a3 and a2.
    "quorum": "commit,n=2,asyncpg,fifo,coordinator=kill@phase2a@a2.before,recoverer=",
    # a1 has voted, and so do a2 and a3 in spite of the rollback.
    "refusal": "commit,n=2,asyncpg,fifo,coordinator=unheard@phase2a@a1",
    "ledger": "commit,n=2,asyncpg,fifo,coordinator=kill@commit-prepared@billing.after,recoverer=",
    "silence": "lone,n=2,asyncpg,fifo,coordinator=unheard@commit-only@orders",
}
"""For each cure that can be taken out, a case that goes wrong without it."""


def check(books: Books) -> dict[str, str]:
    """For each cure, return what was noticed without it; empty if nothing was.

    With all cures in place the same cases must go well: what they show then is under ``""``.
    """
    found = {"": _run("", list(NOTICED_BY.values()), books)}
    for cure in CURES:
        found[cure] = _run(cure, [NOTICED_BY[cure]], books)
    return found


def _run(cure: str, cases: list[str], books: Books) -> str:
    def work(tell: Tell) -> None:
        if cure:
            take_out(cure)
        worker = Worker({2: books})
        runs = [run for text in cases for run in worker.run(Case.parse(text))]
        worker.close()
        missed = [f"never reached: {run.case}" for run in runs if not run.happened]
        tell(0, "found", "; ".join(filter(None, [*missed, *(run.violation for run in runs)])))

    (told,) = fork(work)
    values: dict[str, Any] = told.values
    return str(values.get("found", values.get("failed", "")))
