"""What a killed process still holds in the banks, by the servers' own account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from paxcommit.ports import AsyncDriver, AsyncSession
from paxcommit.sql.statement import DatabaseError, Sql

__all__ = ["Held", "Locks", "watch_locks"]

_LOOK_EVERY = 0.004
_CONNECT_SECONDS = 10.0

_HELD = Sql(
    """
    select
        (select coalesce(string_agg(gid, ' '), '') from pg_prepared_xacts
            where database = current_database() and strpos(gid, $1::text) > 0),
        count(*),
        count(*) filter (where wait_event_type is not distinct from 'Lock')
    from pg_stat_activity where application_name = $2::text
    """
)
_LOCKED_ACCOUNTS = """
    select id from bank.account
    where id not in (select id from bank.account for update skip locked) order by id
"""
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Held:
    """What is held at one instant.

    Attributes:
        branches: Prepared, as (bank, gid).
        backends: Server processes that still work for the dead one.
        waiting: How many of them wait for a lock, and do not notice its death before they have it.
    """

    branches: frozenset[tuple[str, str]]
    backends: int
    waiting: int

    @property
    def nothing(self) -> bool:
        """Whether no lock is left."""
        return not self.branches and self.backends == 0


class Locks:
    """Looks at the banks.

    Args:
        sessions: One per bank.
    """

    def __init__(self, sessions: Mapping[str, AsyncSession]) -> None:
        self._sessions = sessions

    @property
    def banks(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._sessions)

    async def held(self, mark: str, process: str) -> Held:
        """Look once.

        Args:
            mark: What the gids have in them.
            process: Its name in ``pg_stat_activity``.
        """
        sql = Sql(_HELD.text, (mark, process))
        answers = await asyncio.gather(*(each.execute(sql) for each in self._sessions.values()))
        rows = {bank: answer.rows[0] for bank, answer in zip(self._sessions, answers, strict=True)}
        return Held(
            frozenset((bank, gid) for bank, (gids, _, _) in rows.items() for gid in gids.split()),
            backends=sum(backends for _, backends, _ in rows.values()),
            waiting=sum(waiting for _, _, waiting in rows.values()),
        )

    async def until_free(
        self, mark: str, process: str, *, seconds: float
    ) -> tuple[frozenset[tuple[str, str]], bool]:
        """Look until nothing is held any more.

        Returns:
            Every branch that was seen prepared, and whether all was free within `seconds`.
        """
        seen: frozenset[tuple[str, str]] = frozenset()
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            held = await self.held(mark, process)
            seen |= held.branches
            if held.nothing:
                return seen, True
            await asyncio.sleep(_LOOK_EVERY)
        return seen, False

    async def locked_accounts(self) -> list[tuple[str, int]]:
        """Which accounts somebody holds locked now, as (bank, number)."""
        return [
            (bank, int(number))
            for bank, session in self._sessions.items()
            for (number,) in (await session.execute(Sql(_LOCKED_ACCOUNTS))).rows
        ]

    async def is_blocked(self, bank: str, account: int) -> bool:
        """Whether an UPDATE of the account waits in vain for somebody's lock."""
        try:
            await self._sessions[bank].execute(
                Sql(
                    f"set lock_timeout = '200ms';"
                    f" update bank.account set balance = balance where id = {account:d}"
                )
            )
        except DatabaseError as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
            return True
        return False

    async def finish(self, bank: str, gid: str, *, commit: bool) -> None:
        """End a prepared transaction by hand."""
        verb = "commit" if commit else "rollback"
        await self._sessions[bank].execute(Sql(f"{verb} prepared '{gid}'"))

    async def has_transfer(self, bank: str, txid: str) -> bool:
        """Whether the bank shows a transfer as done."""
        sql = Sql("select exists(select from bank.transfer where txid = $1::text)", (txid,))
        return bool((await self._sessions[bank].execute(sql)).rows[0][0])


@asynccontextmanager
async def watch_locks(driver: AsyncDriver, banks: Mapping[str, str]) -> AsyncIterator[Locks]:
    """Connect to the banks.

    Args:
        driver: To connect with.
        banks: DSN by bank.
    """
    sessions: dict[str, AsyncSession] = {}
    try:
        for bank, dsn in banks.items():
            sessions[bank] = await driver.connect(dsn, timeout=_CONNECT_SECONDS)
        yield Locks(sessions)
    finally:
        for session in sessions.values():
            session.discard()
