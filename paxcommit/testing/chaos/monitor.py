"""Looks at the banks all the time, straight and not through the proxy: what is in doubt?"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from paxcommit.ports import AsyncSession
from paxcommit.sql.statement import DatabaseError, Sql, Unanswered
from paxcommit.testing.chaos.chronicle import Chronicle
from paxcommit.testing.chaos.events import InDoubt
from paxcommit.testing.chaos.stage import LABEL, Stage

__all__ = ["Monitor", "watch"]

_LOOK_EVERY = 0.15
_SECONDS = 2.0

_LOOK = """
    select count(*)::int, coalesce(extract(epoch from max(clock_timestamp() - prepared)), 0)::float8
    from pg_prepared_xacts where database = current_database() and starts_with(gid, $1::text)
"""


class Monitor:
    """Use `watch`.

    Args:
        stage: Where.
        chronicle: Hears what is seen.
        prefix: What the gids of this cluster begin with; decoys have others.
    """

    def __init__(self, stage: Stage, chronicle: Chronicle, prefix: str) -> None:
        self._stage = stage
        self._chronicle = chronicle
        self._prefix = prefix
        self._sessions: dict[str, AsyncSession] = {}

    async def look(self) -> tuple[int, float, int]:
        """Look once.

        Returns:
            How many branches are in doubt, the age of the oldest in seconds, and how many banks
            did not answer.
        """
        answers = await asyncio.gather(*map(self._ask, self._stage.banks))
        told = [answer for answer in answers if answer is not None]
        return (
            sum(count for count, _ in told),
            max((age for _, age in told), default=0.0),
            len(answers) - len(told),
        )

    async def run(self) -> None:
        """Look for ever."""
        while True:
            count, oldest, silent = await self.look()
            self._chronicle.note(InDoubt(0.0, count, max(0.0, oldest), silent))
            await asyncio.sleep(_LOOK_EVERY)

    def close(self) -> None:
        """Let go of the banks."""
        for session in self._sessions.values():
            session.discard()
        self._sessions.clear()

    async def _ask(self, bank: str) -> tuple[int, float] | None:
        try:
            async with asyncio.timeout(_SECONDS):
                session = self._sessions.get(bank)
                if session is None or session.broken:
                    session = await self._stage.connect(bank, f"{LABEL}-monitor")
                    self._sessions[bank] = session
                count, oldest = (await session.execute(Sql(_LOOK, (self._prefix,)))).rows[0]
        except (DatabaseError, Unanswered, TimeoutError, OSError):
            return None
        return int(count), float(oldest)


@contextlib.asynccontextmanager
async def watch(stage: Stage, chronicle: Chronicle, prefix: str) -> AsyncIterator[Monitor]:
    """Look in the background for the length of the block."""
    monitor = Monitor(stage, chronicle, prefix)
    task = asyncio.create_task(monitor.run())
    try:
        yield monitor
    finally:
        task.cancel()
        await asyncio.wait([task])
        monitor.close()
    if not task.cancelled():
        task.result()
