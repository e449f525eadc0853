"""Connecting, pooling and adopting with asyncpg."""

from __future__ import annotations

import asyncpg

from paxcommit.errors import EnlistError
from paxcommit.sql.statement import Unanswered
from paxcommit_asyncpg import dsn as dsns
from paxcommit_asyncpg.failures import translate
from paxcommit_asyncpg.pool import AsyncpgPool
from paxcommit_asyncpg.session import AsyncpgSession, is_closed

__all__ = ["AsyncpgDriver"]


class AsyncpgDriver:
    """An `AsyncDriver` on asyncpg."""

    async def connect(self, dsn: str, *, timeout: float) -> AsyncpgSession:
        """See `AsyncDriver.connect`."""
        dsns.check(dsn)
        try:
            raw = await asyncpg.connect(
                dsn, timeout=timeout, server_settings=dsns.server_settings(dsn)
            )
        except (asyncpg.ClientConfigurationError, ValueError):
            raise dsns.malformed() from None  # asyncpg echoes parts of it (trap 34)
        except TimeoutError as exc:
            raise Unanswered(f"no connection within {timeout:g} s") from exc
        except Exception as exc:
            raise translate(exc) from exc
        return AsyncpgSession(raw)

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> AsyncpgPool:
        """See `AsyncDriver.open_pool`."""
        dsns.check(dsn)
        return AsyncpgPool(dsn, max_size=max_size, timeout=timeout)

    def adopt(self, raw: object) -> AsyncpgSession:
        """See `AsyncDriver.adopt`; a connection out of an asyncpg pool will do as well."""
        if not isinstance(raw, asyncpg.Connection):
            raise EnlistError(f"asyncpg can enlist its own connections, not {type(raw).__name__}")
        if is_closed(raw):
            raise EnlistError("the connection is closed, or went back to its pool")
        if raw.is_in_transaction():
            raise EnlistError("the connection has a transaction open; enlist it before it begins")
        return AsyncpgSession(raw)
