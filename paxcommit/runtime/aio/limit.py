"""A limit on how long a session may keep its user waiting."""

from __future__ import annotations

import asyncio
from types import TracebackType

from paxcommit.ports import AsyncSession
from paxcommit.sql.statement import Unanswered

__all__ = ["Limit"]


class Limit:
    """``with Limit(session, seconds): await session…`` cuts the session once it is late.

    Whatever waits inside ends in `Unanswered`, as on any lost connection.  That is what a time-out
    comes to anyway (trap 32), and one timer is a fraction of what ``asyncio.timeout`` costs.

    Args:
        session: What is waited for.
        seconds: How long.
    """

    __slots__ = ("_late", "_seconds", "_session", "_timer")

    def __init__(self, session: AsyncSession, seconds: float) -> None:
        self._session = session
        self._seconds = seconds
        self._late = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._cut)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._late and isinstance(error, Unanswered):
            raise Unanswered(f"no answer in {self._seconds:g} s") from error

    def _cut(self) -> None:
        self._late = True
        self._session.discard()
