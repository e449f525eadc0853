"""asyncpg's connection, as our pools make it: a branch begins and ends without trips of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

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
    """

    __slots__ = ("is_over", "opening")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opening = ""
        self.is_over = False

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
        return await super().execute(query, *args, timeout=timeout)
