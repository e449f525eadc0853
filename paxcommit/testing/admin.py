"""One statement on one fresh connection, over whichever driver is installed."""

from __future__ import annotations

import importlib.util
from typing import Any

from paxcommit.errors import ConfigurationError

__all__ = ["Rows", "admin_execute"]

Rows = list[tuple[Any, ...]]

_SECONDS = 10


def admin_execute(dsn: str, *statements: str) -> Rows:
    """Run `statements` on a fresh connection in autocommit, one after the other.

    Args:
        dsn: A ``postgresql://`` URL.
        statements: Each a single statement, without parameters.

    Returns:
        The rows of the last statement; an empty list if it returns none.

    Raises:
        ConfigurationError: Neither psycopg nor asyncpg is installed.
        Exception: The driver's own error.
    """
    if importlib.util.find_spec("psycopg") is not None:
        return _psycopg(dsn, statements)
    if importlib.util.find_spec("asyncpg") is not None:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        # a thread of its own: the caller's may have an event loop running
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(_asyncpg(dsn, statements))).result()
    raise ConfigurationError(
        "no driver to talk to PostgreSQL: pip install 'paxcommit[psycopg]' or 'paxcommit[asyncpg]'"
    )


def _psycopg(dsn: str, statements: tuple[str, ...]) -> Rows:
    import psycopg

    rows: Rows = []
    with psycopg.connect(dsn, autocommit=True, connect_timeout=_SECONDS) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description is not None else []
    return rows


async def _asyncpg(dsn: str, statements: tuple[str, ...]) -> Rows:
    import asyncpg

    rows: Rows = []
    connection = await asyncpg.connect(dsn, timeout=_SECONDS)
    try:
        for statement in statements:
            rows = [tuple(record) for record in await connection.fetch(statement)]
    finally:
        await connection.close(timeout=_SECONDS)
    return rows
