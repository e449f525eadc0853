"""Drivers and sessions that pass every statement on, through points, cuts and a gate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from paxcommit.ports import (
    AsyncDriver,
    AsyncPool,
    AsyncSession,
    BeginOptions,
    SyncDriver,
    SyncPool,
    SyncSession,
)
from paxcommit.sql.statement import DatabaseError, Result, Sql, Unanswered

from .gate import Gate
from .points import Message, Points, label_of

__all__ = ["WrappedAsyncDriver", "WrappedSyncDriver"]

_T = TypeVar("_T")

_LOST = "the message was lost"
_UNHEARD = "the reply was lost"


def _before(points: Points, message: Message) -> None:
    if message.durable:
        points.reach(f"{message.name}.before")


def _after(points: Points, message: Message) -> None:
    if message.durable:
        points.reach(f"{message.name}.after")


class _AsyncSession:
    def __init__(self, inner: AsyncSession, target: str, gate: Gate) -> None:
        self.inner = inner
        self._target = target
        self._gate = gate

    @property
    def raw(self) -> Any:
        return self.inner.raw

    @property
    def broken(self) -> bool:
        return self.inner.broken

    @property
    def in_transaction(self) -> bool:
        return self.inner.in_transaction

    async def execute(self, sql: Sql) -> Result:
        return await self._pass(label_of(sql.text), lambda: self.inner.execute(sql))

    async def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        await self._pass("begin", lambda: self.inner.begin(options, first))

    async def settle(self) -> None:
        await self.inner.settle()

    def discard(self) -> None:
        self.inner.discard()

    async def _pass(self, label: str, call: Callable[[], Awaitable[_T]]) -> _T:
        points = self._gate.points
        message = points.message(label, self._target)
        entered = not message.setup and await self._gate.enter()
        try:
            _before(points, message)
            if message.cut == "lost":
                self.inner.discard()
                raise Unanswered(_LOST)
            try:
                with points.flight():
                    result = await call()
            except DatabaseError:
                _after(points, message)
                raise
            if message.cut == "unheard":
                self.inner.discard()
                raise Unanswered(_UNHEARD)
            _after(points, message)
            if message.cut == "heard":
                self.inner.discard()
            return result
        finally:
            if entered:
                self._gate.leave()


class _AsyncPool:
    def __init__(
        self, inner: AsyncPool, wrap: Callable[[AsyncSession], _AsyncSession], gate: Gate
    ) -> None:
        self._inner = inner
        self._wrap = wrap
        self._gate = gate

    async def acquire(self, timeout: float) -> AsyncSession:
        with self._gate.points.flight():
            return self._wrap(await self._inner.acquire(timeout))

    async def release(self, session: AsyncSession) -> None:
        await self._inner.release(_unwrapped(session))

    async def close(self, timeout: float) -> None:
        await self._inner.close(timeout)


class WrappedAsyncDriver:
    """An `AsyncDriver` around another one.

    Args:
        inner: The real one.
        names: Whom a DSN leads to.
        gate: Knows whose points are passed, and in which order.
    """

    def __init__(self, inner: AsyncDriver, names: Mapping[str, str], gate: Gate) -> None:
        self._inner = inner
        self._names = names
        self._gate = gate

    async def connect(self, dsn: str, *, timeout: float) -> AsyncSession:
        """See `AsyncDriver.connect`."""
        with self._gate.points.flight():
            return self._wrap(dsn, await self._inner.connect(dsn, timeout=timeout))

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> AsyncPool:
        """See `AsyncDriver.open_pool`."""
        pool = self._inner.open_pool(dsn, max_size=max_size, timeout=timeout)
        return _AsyncPool(pool, lambda session: self._wrap(dsn, session), self._gate)

    def adopt(self, raw: object) -> AsyncSession:
        """See `AsyncDriver.adopt`."""
        return self._inner.adopt(raw)

    def _wrap(self, dsn: str, session: AsyncSession) -> _AsyncSession:
        return _AsyncSession(session, self._names[dsn], self._gate)


class _SyncSession:
    def __init__(self, inner: SyncSession, target: str, points: Points) -> None:
        self.inner = inner
        self._target = target
        self._points = points

    @property
    def raw(self) -> Any:
        return self.inner.raw

    @property
    def broken(self) -> bool:
        return self.inner.broken

    @property
    def in_transaction(self) -> bool:
        return self.inner.in_transaction

    def execute(self, sql: Sql) -> Result:
        return self._pass(label_of(sql.text), lambda: self.inner.execute(sql))

    def begin(self, options: BeginOptions, first: Sql | None = None) -> None:
        self._pass("begin", lambda: self.inner.begin(options, first))

    def settle(self) -> None:
        self.inner.settle()

    def discard(self) -> None:
        self.inner.discard()

    def _pass(self, label: str, call: Callable[[], _T]) -> _T:
        points = self._points
        message = points.message(label, self._target)
        _before(points, message)
        if message.cut == "lost":
            self.inner.discard()
            raise Unanswered(_LOST)
        try:
            with points.flight():
                result = call()
        except DatabaseError:
            _after(points, message)
            raise
        if message.cut == "unheard":
            self.inner.discard()
            raise Unanswered(_UNHEARD)
        _after(points, message)
        if message.cut == "heard":
            self.inner.discard()
        return result


class _SyncPool:
    def __init__(self, inner: SyncPool, wrap: Callable[[SyncSession], _SyncSession]) -> None:
        self._inner = inner
        self._wrap = wrap

    def acquire(self, timeout: float) -> SyncSession:
        return self._wrap(self._inner.acquire(timeout))

    def release(self, session: SyncSession) -> None:
        self._inner.release(session.inner if isinstance(session, _SyncSession) else session)

    def close(self, timeout: float) -> None:
        self._inner.close(timeout)


class WrappedSyncDriver:
    """A `SyncDriver` around another one.

    Args:
        inner, names: As in `WrappedAsyncDriver`.
        points: What is passed.
    """

    def __init__(self, inner: SyncDriver, names: Mapping[str, str], points: Points) -> None:
        self._inner = inner
        self._names = names
        self._points = points

    def connect(self, dsn: str, *, timeout: float) -> SyncSession:
        """See `SyncDriver.connect`."""
        return self._wrap(dsn, self._inner.connect(dsn, timeout=timeout))

    def open_pool(self, dsn: str, *, max_size: int, timeout: float) -> SyncPool:
        """See `SyncDriver.open_pool`."""
        pool = self._inner.open_pool(dsn, max_size=max_size, timeout=timeout)
        return _SyncPool(pool, lambda session: self._wrap(dsn, session))

    def adopt(self, raw: object) -> SyncSession:
        """See `SyncDriver.adopt`."""
        return self._inner.adopt(raw)

    def _wrap(self, dsn: str, session: SyncSession) -> _SyncSession:
        return _SyncSession(session, self._names[dsn], self._points)


def _unwrapped(session: AsyncSession) -> AsyncSession:
    return session.inner if isinstance(session, _AsyncSession) else session
