"""What the forked processes do, on threads: as `jobs`, with `Coordinator` and `Recovery`.

One transaction to a process: there is no telling whose thread it is that sends a message.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence

import psycopg
import psycopg_pool

from paxcommit import (
    Coordinator,
    OutcomeUnknown,
    Recovery,
    TransactionAborted,
    TxId,
    failpoints,
)
from paxcommit import coordinator as coordinator_module
from paxcommit import recovery as recovery_module
from paxcommit.drivers import choose_sync

from .cases import Act, Case
from .children import Tell
from .jobs import BlockFailed, kill_self, wrote
from .points import Points
from .stage import Books
from .wrapping import WrappedSyncDriver

__all__ = ["coordinate", "recover"]

_WARM = (psycopg, psycopg_pool)
_REAL = choose_sync()
_PATIENCE = 20.0


def coordinate(cases: Sequence[Case], books: Books, tell: Tell) -> None:
    """Commit a transaction for the one case."""
    (case,) = cases
    points = _install(case.coordinator, books, tell)
    with Coordinator.open(books.settings) as coordinator:
        tx = coordinator.transaction(wait="decided")
        points.tell("txid", str(tx.id))
        points.begun = True
        left = False
        answer = "committed"
        try:
            with tx:
                for name in case.participants:
                    read = name not in case.writers
                    connection = tx.connection(name, isolation="serializable" if read else None)
                    points.reach(f"write@{name}.before")
                    connection.execute(wrote(case, name, tx.id))
                    points.reach(f"write@{name}.after")
                if case.scenario == "raise":
                    raise BlockFailed
                left = True
        except OutcomeUnknown:
            answer = "unknown"
        except TransactionAborted:
            answer = "aborted"
        except Exception:
            if left:
                raise
            answer = "aborted"
        points.tell("answer", answer)
        tx._over.wait(_PATIENCE)
        _rest(points)


def recover(cases: Sequence[Case], txids: Sequence[str], books: Books, tell: Tell) -> None:
    """Look once for what is left, or force the outcome of the one transaction."""
    (case,), (txid,) = cases, txids
    points = _install(case.recoverer, books, tell)
    with Recovery.open(books.settings) as recovery:
        points.begun = True
        points.tell("begun", "")
        if case.force:
            resolved = [recovery.resolve(TxId.parse(txid), force=True)]
        else:
            resolved = list(recovery.run_once().resolved)
        points.tell("resolved", {str(each.txid): str(each.outcome) for each in resolved})
        _rest(points)


def _install(act: Act | None, books: Books, tell: Tell) -> Points:
    points = Points(act, functools.partial(tell, 0), kill_self)
    failpoints.arm(points.failpoint)
    driver = WrappedSyncDriver(_REAL, books.names, points)
    for module in (coordinator_module, recovery_module):
        # In this child only, and for its whole life.
        module.choose_sync = lambda _: driver  # type: ignore[attr-defined]
    return points


def _rest(points: Points) -> None:
    """Wait for the answers that nobody else waits for, so that every point is reached."""
    give_up = time.monotonic() + _PATIENCE
    while not points.quiet and time.monotonic() < give_up:
        time.sleep(0)
