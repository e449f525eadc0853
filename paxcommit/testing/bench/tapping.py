"""Counts what goes over the wire: round trips and statements, whatever the driver (TCP, no TLS)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from paxcommit.errors import ClusterError
from paxcommit.sql.cleaning import CLEAN_APART
from paxcommit.testing.chaos.addresses import redirected, upstream_of
from paxcommit.testing.chaos.proxy import Proxy
from paxcommit.testing.chaos.rules import Direction, Rule, Wire

__all__ = ["ProxyThread", "Tap"]

_T = TypeVar("_T")
_UNTYPED = {80877103, 80877104}
"""SSLRequest and GSSENCRequest: answered with one byte that is no message."""

_STATEMENTS = (b"C", b"I", b"E")
"""CommandComplete, EmptyQueryResponse, ErrorResponse: each ends one statement."""

_HEARTBEAT = b"SELECT 1"
"""How an idle standing connection is tried."""

_CLEANING = CLEAN_APART.text.encode()
"""How a connection is cleaned that lies idle; else it goes along with the next BEGIN."""

_BY_THE_SECOND = {_HEARTBEAT: "heartbeats", _CLEANING: "cleanings"}
"""What comes by the second and not by the transaction."""

_QUIET_SECONDS = 0.05
_PATIENCE = 10.0


class Tap(Rule):
    """Counts the traffic of one route.

    A *round trip* begins with the Query or Sync that a client sends when nothing is under way, and
    ends when every one sent meanwhile has been answered by ReadyForQuery; so a pipeline is one.
    Counted under "round trips" and "statements".  What comes by the second and not by the
    transaction is counted apart: "heartbeats", and "cleanings", whose statements are the
    transaction's all the same, for without one they would go along with the next BEGIN.
    """

    def __init__(self) -> None:
        super().__init__()
        self._connections: dict[Wire, _Connection] = {}
        self._last = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way, and has not been for a moment."""
        under_way = any(each.under_way for each in self._connections.values())
        return not under_way and time.monotonic() - self._last > _QUIET_SECONDS

    def pass_on(self, wire: Wire, direction: Direction, data: bytes) -> bool:
        """See `Rule.pass_on`."""
        self._last = time.monotonic()
        connection = self._connections.setdefault(wire, _Connection(self.counted))
        if direction == "up":
            connection.sent(data)
        else:
            connection.answered(data)
        return True


class _Connection:
    """Follows one connection's messages.

    Args:
        counted: Where to count.
    """

    def __init__(self, counted: Counter[str]) -> None:
        self.under_way = 0
        self._counted = counted
        self._up, self._down = bytearray(), bytearray()
        self._started = False
        self._bare_answers = 0
        self._texts: dict[bytes, bytes] = {}
        self._text = b""
        self._is_heartbeat = False

    def sent(self, data: bytes) -> None:
        self._up += data
        while not self._started:
            if (message := _cut(self._up, 0)) is None:
                return
            if int.from_bytes(message[4:8]) in _UNTYPED:
                self._bare_answers += 1
            else:
                self._started = True  # that was the StartupMessage
        while (message := _cut(self._up, 1)) is not None:
            kind, body = message[:1], message[5:]
            if kind == b"P":  # Parse: a name and a text
                name, text, _ = body.split(b"\0", 2)
                self._texts[name] = self._text = text
            elif kind == b"B":  # Bind: a portal and the name of what was parsed
                self._text = self._texts.get(body.split(b"\0", 2)[1], b"")
            elif kind == b"Q":
                self._text = body[:-1]
            if kind in (b"Q", b"S"):
                if not self.under_way:
                    self._is_heartbeat = self._text == _HEARTBEAT
                    self._counted[_BY_THE_SECOND.get(self._text, "round trips")] += 1
                self.under_way += 1

    def answered(self, data: bytes) -> None:
        self._down += data
        while self._bare_answers and self._down:
            if self._down[:1] != b"N":
                raise ClusterError("the server speaks TLS: what is encrypted cannot be counted")
            del self._down[:1]
            self._bare_answers -= 1
        while (message := _cut(self._down, 1)) is not None:
            kind = message[:1]
            if kind in _STATEMENTS and not self._is_heartbeat:
                self._counted["statements"] += 1
            elif kind == b"Z" and self.under_way:  # the first one answers the log-in
                self.under_way -= 1


def _cut(stream: bytearray, start: int) -> bytes | None:
    """Take the first message off a stream, if it is complete; its length is at `start`."""
    if len(stream) < start + 4:
        return None
    end = start + int.from_bytes(stream[start : start + 4])
    if len(stream) < end:
        return None
    message = bytes(stream[:end])
    del stream[:end]
    return message


class ProxyThread:
    """A proxy with one route to each server, run by a thread; a context manager.

    Args:
        dsns: By the name of the acceptor or participant.

    Attributes:
        dsns: The same databases, through the proxy.
        proxy: To put rules in force with, by `call`.
    """

    def __init__(self, dsns: Mapping[str, str]) -> None:
        self.dsns = dict(dsns)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bench proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self.proxy = self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def apply(self, rule: Rule, site: str) -> None:
        """Put `rule` in force on the way to a server."""
        self._run(_now(lambda: self.proxy.apply(rule, self.proxy.find(sites=[site]))))

    def lift(self, rule: Rule) -> None:
        """End `rule`."""
        self._run(_now(lambda: self.proxy.lift(rule)))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _open(self) -> Proxy:
        proxy = Proxy()
        for name, dsn in self.dsns.items():
            route = await proxy.add("bench", name, upstream_of(dsn))
            self.dsns[name] = redirected(dsn, route.port)
        return proxy

    async def _close(self) -> None:
        await self.proxy.__aexit__(None, None, None)
        await asyncio.sleep(0)  # transports close in the next turn of the loop


async def _now(work: Any) -> None:
    work()
