"""asyncpg's connection, as our pools make it: a branch begins and ends without trips of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from paxcommit.sql.cleaning import CLEAN_APART

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[Any]
else:
    _Connection = asyncpg.Connection

__all__ = ["BranchConnection"]


class BranchConnection(_Connection):
    """Lets a branch begin in one round trip and end in none.

    asyncpg's transactions keep their books on the connection, and only they may: so ours is begun
    and rolled back by asyncpg's own `Transaction`, whose statements come through `execute`.
    Whoever sets one of the two attributes calls the transaction's method at once, and that takes
    it away again before it first waits: no other statement can come between.

    Attributes:
        opening: Goes along with the next statement, in the same simple query.
        is_over: The server has ended the transaction already, so that the next statement, the
            driver's ROLLBACK, has nothing to do there.
        soiled: What its last user left behind is still there, until `clean` or the next BEGIN.
    """

    __slots__ = ("is_over", "opening", "soiled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opening = ""
        self.is_over = False
        self.soiled = False

    def unwrapped(self) -> BranchConnection:
        """The connection itself, also when asked through a pool's proxy."""
        return self

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """See `asyncpg.Connection.execute`."""
        if self.is_over:
            self.is_over = False
            return "ROLLBACK"
        if self.opening:
            query, self.opening = query + self.opening, ""
        if self.soiled:
            query, self.soiled = f"{CLEAN_APART.text}; {query}", False
        return await super().execute(query, *args, timeout=timeout)

    async def clean(self) -> None:
        """Take away what the last user left behind, if it is still there."""
        if self.soiled:
            self.soiled = False
            await super().execute(CLEAN_APART.text)
