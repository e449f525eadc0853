"""Acceptors with a past: rows of transactions that were decided long ago."""

from __future__ import annotations

from paxcommit.testing.admin import admin_execute

__all__ = ["fill_acceptor"]

_OF_ONE_COORDINATOR = 100_000
_TIME = 1_000_000


def fill_acceptor(dsn: str, first: int, last: int) -> None:
    """Give an acceptor the rows of transactions `first` to `last`, each committed at N=2.

    Args:
        dsn: A superuser's.
        first, last: Numbers; no row of them is there yet.
    """
    for start in range(first, last + 1, _TIME):  # each within what one statement may take
        end = min(last, start + _TIME - 1)
        admin_execute(
            dsn,
            "INSERT INTO paxcommit.transaction"
            " (epoch, coordinator, seq, promised, accepted, mark)"
            f" SELECT e.epoch, n / {_OF_ONE_COORDINATOR}, n, 0,"
            ' \'{"*": [0, "J:p1,p2"], "p1": [0, "P"], "p2": [0, "P"]}\'::jsonb, 0'
            f" FROM paxcommit.epoch AS e, generate_series({start}::bigint, {end}::bigint) AS n",
        )
    admin_execute(dsn, "VACUUM ANALYZE paxcommit.transaction")
