"""A cluster of databases to commit in, and a look at the bare truth inside them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest

from paxcommit import Settings, TxId
from paxcommit.cluster import initialise
from paxcommit.drivers import choose_async
from paxcommit.testing import Layout, Place

__all__ = ["PARTICIPANTS", "Frozen", "Shop", "ends_in", "eventually"]

PARTICIPANTS = ("orders", "billing", "stock")

_PATIENCE = 30.0


async def eventually(
    condition: Callable[[], Any | Awaitable[Any]], what: str = "", patience: float = _PATIENCE
) -> Any:
    """Ask until the answer is true; return it."""
    give_up = time.monotonic() + patience
    while True:
        answer = condition()
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > give_up:
            pytest.fail(f"never came true: {what or condition}")
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.01)


@contextlib.asynccontextmanager
async def ends_in(
    error: type[BaseException], match: str | None = None
) -> AsyncIterator[pytest.ExceptionInfo[BaseException]]:
    """`pytest.raises` for the end of an ``async with`` block, in one statement with it."""
    with pytest.raises(error, match=match) as caught:
        yield caught


class Frozen:
    """A server process (or any other) to hold still for a while.

    Whoever is frozen answers nothing, and its connections stay up.
    """

    def __init__(self, pid: int = 0) -> None:
        self.pid = pid

    def __enter__(self) -> Frozen:
        return self

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)


class Shop:
    """Databases with a table ``note(txid, text)`` in every participant, and what is in them.

    Everything is read by a superuser, past paxcommit.
    """

    def __init__(self, layout: Layout, **options: Any) -> None:
        self.layout = layout
        self.options = options
        self.settings = Settings(**layout.settings, **options)
        self._lookouts: dict[str, psycopg.Connection[Any]] = {}

    @classmethod
    def create(cls, layout: Layout, **options: Any) -> Shop:
        """Make it a cluster."""
        shop = cls(layout, **options)
        asyncio.run(initialise(shop.settings, choose_async("asyncpg")))
        for name in layout.participants:
            shop.look(name, "create table note (txid text not null, text text not null default '')")
        return shop

    def with_options(self, **options: Any) -> Settings:
        """The settings, changed."""
        return Settings(**self.layout.settings, **{**self.options, **options})

    @property
    def participants(self) -> Mapping[str, Place]:
        return self.layout.participant_places

    @property
    def acceptors(self) -> Mapping[str, Place]:
        return self.layout.acceptor_places

    def place(self, name: str) -> Place:
        return self.layout.place(name)

    # --- looking --------------------------------------------------------------------------------

    def look(self, name: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
        """Run one statement as superuser in the database of a participant or acceptor."""
        for attempt in (1, 2):
            lookout = self._lookouts.get(name)
            if lookout is None or lookout.closed:
                lookout = psycopg.connect(self.place(name).dsn, autocommit=True)
                self._lookouts[name] = lookout
            try:
                cursor = lookout.execute(sql.encode(), args or None)
            except psycopg.OperationalError:
                if attempt == 2 or not lookout.closed:  # e.g. the server was restarted
                    raise
            else:
                return cursor.fetchall() if cursor.description else []
        raise AssertionError

    def close(self) -> None:
        for lookout in self._lookouts.values():
            lookout.close()
        self._lookouts.clear()

    def noted(self, txid: TxId | str) -> set[str]:
        """The participants in which the transaction's note is committed."""
        return {
            name
            for name in self.participants
            if self.look(name, "select 1 from note where txid = %s", str(txid))
        }

    def prepared(self, txid: TxId | str = "") -> set[str]:
        """The participants in which a branch (of the transaction) is prepared."""
        return {
            name
            for name in self.participants
            if self.look(
                name,
                "select 1 from pg_prepared_xacts where database = current_database()"
                " and strpos(gid, %s) > 0",
                f":{txid}:" if txid else "",
            )
        }

    def gid(self, name: str, txid: TxId | str) -> str:
        """The gid of the transaction's branch, which is prepared."""
        [[gid]] = self.look(
            name, "select gid from pg_prepared_xacts where strpos(gid, %s) > 0", f":{txid}:{name}:"
        )
        return str(gid)

    def rows(self, txid: TxId | str) -> dict[str, str]:
        """Per participant that has one, the kind of its branch row."""
        epoch, coordinator, seq = _parts(txid)
        kinds = {
            name: self.look(
                name,
                "select kind from paxcommit.branch"
                " where epoch = %s and coordinator = %s and seq = %s",
                epoch, coordinator, seq,
            )
            for name in self.participants
        }  # fmt: skip
        return {name: rows[0][0] for name, rows in kinds.items() if rows}

    def accepted(self, txid: TxId | str) -> dict[str, dict[str, Any]]:
        """Per acceptor that knows the transaction, what it has accepted."""
        epoch, coordinator, seq = _parts(txid)
        held = {
            name: self.look(
                name,
                "select accepted::text from paxcommit.transaction"
                " where epoch = %s and coordinator = %s and seq = %s",
                epoch, coordinator, seq,
            )
            for name, place in self.acceptors.items()
            if place.server.is_running
        }  # fmt: skip
        return {name: json.loads(rows[0][0]) for name, rows in held.items() if rows}

    def damages(self, txid: TxId | str) -> dict[str, str]:
        """Per participant, the damage that is written down for the transaction."""
        found = {
            name: self.look(name, "select what from paxcommit.damage where txid = %s", str(txid))
            for name in self.participants
        }
        return {name: rows[0][0] for name, rows in found.items() if rows}

    def lock_holders(self, coordinator: int) -> set[str]:
        """The acceptors at which the incarnation's lock is held."""
        return {
            name
            for name, place in self.acceptors.items()
            if place.server.is_running
            and self.look(
                name,
                "select 1 from pg_locks where locktype = 'advisory' and granted"
                " and ((classid::bigint << 32) | objid::bigint) = %s"
                " and database = (select oid from pg_database where datname = current_database())",
                coordinator,
            )
        }

    # --- disturbing -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def holding(self, name: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
        """Another session that holds what `statements` lock, until the block ends."""
        with psycopg.connect(self.place(name).dsn) as other:
            for statement in statements:
                other.execute(statement.encode())
            yield other
            other.rollback()

    def terminate(self, name: str, where: str) -> int:
        """Terminate the backends of that database that `where` describes; how many."""
        return len(
            self.look(
                name,
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                f" where datname = current_database() and pid <> pg_backend_pid() and {where}",
            )
        )

    def waiting(self, name: str) -> bool:
        """Whether a backend of that database waits for a lock."""
        return bool(
            self.look(
                name,
                "select 1 from pg_stat_activity where datname = current_database()"
                " and wait_event_type = 'Lock'",
            )
        )


def _parts(txid: TxId | str) -> tuple[int, int, int]:
    parsed = txid if isinstance(txid, TxId) else TxId.parse(txid)
    return parsed.epoch, parsed.coordinator, parsed.seq
