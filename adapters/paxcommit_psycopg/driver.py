"""Connecting, pooling and adopting with psycopg 3, for asyncio and for threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import psycopg

from paxcommit.errors import EnlistError
from paxcommit.sql.statement import Unanswered
from paxcommit_psycopg import dsn as dsns
from paxcommit_psycopg.aio import PsycopgAsyncSession
from paxcommit_psycopg.base import check_adoptable
from paxcommit_psycopg.blocking import PsycopgSession, Raw
from paxcommit_psycopg.failures import translate_connect
from paxcommit_psycopg.pools import PsycopgAsyncPool, PsycopgPool

__all__ = ["PsycopgAsyncDriver", "PsycopgSyncDriver"]


class PsycopgAsyncDriver:
    """An `AsyncDriver` on psycopg."""

    async def connect(self, dsn: str, *, timeout: float) -> PsycopgAsyncSession:
        """See `AsyncDriver.connect`."""
        dsns.check(dsn)
        try:
            async with asyncio.timeout(timeout):
                raw = await psycopg.AsyncConnection.connect(
                    dsn, autocommit=True, **dsns.options(timeout)
                )
        except TimeoutError:
            raise Unanswered(f"no connection within {timeout:g} s") from None
        except Exception as exc:
            raise translate_connect(exc) from exc
        return PsycopgAsyncSession(raw)

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> PsycopgAsyncPool:
        """See `AsyncDriver.open_pool`."""
        dsns.check(dsn)
        return PsycopgAsyncPool(dsn, max_size=max_size, timeout=timeout)

    def adopt(self, raw: object) -> PsycopgAsyncSession:
        """See `AsyncDriver.adopt`; a connection without autocommit gets it for the duration."""
        if not isinstance(raw, psycopg.AsyncConnection):
            raise EnlistError(
                f"here psycopg can enlist its AsyncConnection, not {type(raw).__name__}"
            )
        check_adoptable(raw)
        return PsycopgAsyncSession(raw)


class PsycopgSyncDriver:
    """A `SyncDriver` on psycopg."""

    def connect(self, dsn: str, *, timeout: float) -> PsycopgSession:
        """See `SyncDriver.connect`.

        psycopg bounds each address apart, and a name's lookup not at all, so it connects in a
        thread that we stop waiting for.
        """
        dsns.check(dsn)
        connected: Future[Raw] = Future()
        threading.Thread(
            target=_connect, args=(dsn, timeout, connected), name="paxcommit-connect", daemon=True
        ).start()
        try:
            return PsycopgSession(connected.result(timeout))
        except TimeoutError:
            connected.add_done_callback(_close)
            raise Unanswered(f"no connection within {timeout:g} s") from None
        except Exception as exc:
            raise translate_connect(exc) from exc
        except BaseException:
            connected.add_done_callback(_close)
            raise

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> PsycopgPool:
        """See `SyncDriver.open_pool`."""
        dsns.check(dsn)
        return PsycopgPool(dsn, max_size=max_size, timeout=timeout)

    def adopt(self, raw: object) -> PsycopgSession:
        """See `SyncDriver.adopt`; a connection without autocommit gets it for the duration."""
        if not isinstance(raw, psycopg.Connection):
            raise EnlistError(f"here psycopg can enlist its Connection, not {type(raw).__name__}")
        check_adoptable(raw)
        return PsycopgSession(raw)


def _connect(dsn: str, timeout: float, connected: Future[Raw]) -> None:
    try:
        raw = psycopg.Connection.connect(dsn, autocommit=True, **dsns.options(timeout))
    except Exception as exc:  # noqa: BLE001 - all of it is the caller's to see
        connected.set_exception(exc)
    else:
        connected.set_result(raw)


def _close(connected: Future[Raw]) -> None:
    """Close a connection that came when nobody waited for it any more."""
    if connected.exception() is None:
        connected.result().close()
