"""The work that every system does, and the tables that it is done in."""

from __future__ import annotations

import itertools
import secrets

__all__ = [
    "CREATE_DECISIONS",
    "CREATE_ROWS",
    "DROP",
    "PREFIX",
    "ROWS_EACH",
    "TABLE",
    "Names",
    "fill_rows",
    "row_of",
]

TABLE = "paxcommit_bench"
PREFIX = "bench-"
"""What the gids of the systems other than paxcommit begin with."""

ROWS_EACH = 64
"""Rows of one client, taken in turn: a branch that is not applied yet is in nobody's way."""

CREATE_ROWS = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (id int PRIMARY KEY, value bigint NOT NULL)"
    " WITH (fillfactor = 50)"
)
CREATE_DECISIONS = (
    f"CREATE TABLE IF NOT EXISTS {TABLE}_decision (gid text PRIMARY KEY,"
    " decided timestamptz NOT NULL DEFAULT now())"
)
DROP = (f"DROP TABLE IF EXISTS {TABLE}", f"DROP TABLE IF EXISTS {TABLE}_decision")


def fill_rows(clients: int) -> str:
    """The statement that makes the rows of so many clients."""
    return (
        f"INSERT INTO {TABLE} SELECT id, 0 FROM generate_series(0, {clients * ROWS_EACH - 1}) id"
        " ON CONFLICT DO NOTHING"
    )


def row_of(client: int, number: int) -> int:
    """The row that a client's transaction updates, at every participant; clients never collide."""
    return client * ROWS_EACH + number % ROWS_EACH


class Names:
    """Draws transaction names that nobody else on these servers uses."""

    def __init__(self) -> None:
        self._prefix = f"{PREFIX}{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)

    def draw(self) -> str:
        """A new one; the participant's number is to be appended."""
        return f"{self._prefix}-{next(self._numbers)}"
