"""A TCP proxy on loopback between processes and servers, on which links can be broken at will.

Each route has a port of its own, so that a partition can tell processes and databases apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from paxcommit.testing.chaos.rules import Direction, Rule

__all__ = ["Proxy", "Route", "Upstream"]

_LOOPBACK = "127.0.0.1"
_MAX_KEPT = 1 << 20
_RESET = struct.pack("ii", 1, 0)
_OTHER: dict[Direction, Direction] = {"up": "down", "down": "up"}


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a server listens.

    Attributes:
        host: A name or an address, or the path of a Unix socket.
        port: TCP port; of no meaning for a Unix socket.
    """

    host: str
    port: int


@dataclass(eq=False)
class Route:
    """A port that leads to one server for one process.

    Attributes:
        process: Who connects to it.
        site: Which acceptor or participant is behind it.
        upstream: Where that is.
        port: Where the proxy listens for it, on 127.0.0.1.
        connections: How many have been made.
    """

    process: str
    site: str
    upstream: Upstream
    port: int = 0
    connections: int = 0
    rules: list[Rule] = field(default_factory=list)
    pairs: set[_Pair] = field(default_factory=set)

    def held_by(self, direction: Direction) -> Rule | None:
        """The rule that keeps bytes in this direction back, if there is one."""
        return next((rule for rule in self.rules if rule.holds(direction)), None)

    @property
    def cut_by(self) -> Rule | None:
        """The rule by which no connection can be made now, if there is one."""
        return self.held_by("up") or self.held_by("down")


class Proxy:
    """An async context manager; its routes end with it."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Proxy:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for route in self.routes:
            for pair in list(route.pairs):
                pair.reset()

    async def add(self, process: str, site: str, upstream: Upstream) -> Route:
        """Open a route."""
        route = Route(process, site, upstream)
        server = await asyncio.get_running_loop().create_server(
            lambda: _End(_Pair(route), "up"), _LOOPBACK, 0
        )
        route.port = server.sockets[0].getsockname()[1]
        self.routes.append(route)
        self._servers.append(server)
        return route

    def find(
        self, *, processes: Iterable[str] | None = None, sites: Iterable[str] | None = None
    ) -> list[Route]:
        """The routes of some processes to some sites; None: all."""
        who = None if processes is None else set(processes)
        where = None if sites is None else set(sites)
        return [
            route
            for route in self.routes
            if (who is None or route.process in who) and (where is None or route.site in where)
        ]

    def apply(self, rule: Rule, routes: Iterable[Route]) -> None:
        """Put `rule` in force on `routes`, beside those that are."""
        for route in routes:
            route.rules.append(rule)

    def lift(self, rule: Rule) -> None:
        """End `rule` everywhere; what it kept back moves on, or ends."""
        for route in self.routes:
            if rule not in route.rules:
                continue
            route.rules.remove(rule)
            for pair in list(route.pairs):
                pair.lifted(rule)


_FIN = b""
"""Stands for the end of a direction in a queue; data is never empty."""


@dataclass(slots=True)
class _Pipe:
    """One direction of a connection."""

    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    kept: int = 0
    paused: bool = False
    finished: bool = False


class _Pair:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._loop = asyncio.get_running_loop()
        # By the direction in which they *send* to us: the client's end sends up.
        self._ends: dict[Direction, asyncio.Transport] = {}
        self._pipes: dict[Direction, _Pipe] = {"up": _Pipe(), "down": _Pipe()}
        self._held_by: set[Rule] = set()
        self._silenced_by: Rule | None = None
        self._lost: set[Direction] = set()
        self._connecting: asyncio.Task[None] | None = None

    # --- what the ends tell ---------------------------------------------------------------------

    def connected(self, direction: Direction, transport: asyncio.Transport) -> None:
        self._ends[direction] = transport
        if direction == "down" and self not in self._route.pairs:  # it was reset meanwhile
            transport.abort()
        elif direction == "up":
            self._route.pairs.add(self)
            self._connect()
        else:
            self._route.connections += 1
            for each in self._pipes:
                self._pump(each)

    def received(self, direction: Direction, data: bytes) -> None:
        if self._silenced_by is not None:
            self._silenced_by.counted["bytes swallowed"] += len(data)
            return
        pipe = self._pipes[direction]
        late = 0.0
        for rule in self._route.rules:
            if by := rule.delay(direction):
                rule.counted["bytes delayed"] += len(data)
                late = max(late, by)
        self._queue(direction, data, late)
        pipe.kept += len(data)
        if pipe.kept > _MAX_KEPT and not pipe.paused:
            pipe.paused = True
            self._ends[direction].pause_reading()

    def ended(self, direction: Direction) -> None:
        if self._silenced_by is None:
            self._queue(direction, _FIN, 0.0)

    def lost(self, direction: Direction) -> None:
        """An end is gone; the other one learns of it when the bytes before it are delivered."""
        self._lost.add(direction)
        if self._silenced_by is not None:
            return
        if "down" not in self._ends or len(self._lost) == 2:
            self._end()
        elif not self._pipes[direction].finished:
            self._queue(direction, _FIN, 0.0)
        elif self._route.held_by(direction) is None:
            self._end()

    # --- what rules do: see `Wire` --------------------------------------------------------------

    def deliver(self, direction: Direction, data: bytes) -> None:
        to = self._ends.get(_OTHER[direction])
        if to is not None and not to.is_closing():
            to.write(data)

    def finish(self, direction: Direction) -> None:
        pipe = self._pipes[direction]
        pipe.finished = True
        pipe.queue.clear()
        to = self._ends.get(_OTHER[direction])
        if to is not None and not to.is_closing():
            with contextlib.suppress(OSError):  # it was reset, which we have not heard yet
                to.write_eof()
        if all(each.finished for each in self._pipes.values()) or direction in self._lost:
            self._end()

    def reset(self) -> None:
        for transport in self._ends.values():
            connection = transport.get_extra_info("socket")
            if connection is not None and connection.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):  # it is closed already
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        self._forget()

    def go_silent(self, rule: Rule) -> None:
        self._silenced_by = rule
        for pipe in self._pipes.values():
            pipe.queue.clear()

    def lifted(self, rule: Rule) -> None:
        if rule is self._silenced_by or (rule.resets_when_lifted and rule in self._held_by):
            rule.counted["connections reset"] += 1
            self.reset()
            return
        if self._connecting is None and "down" not in self._ends:
            self._connect()
        for direction in self._pipes:
            self._pump(direction)

    # --- inside ---------------------------------------------------------------------------------

    def _connect(self) -> None:
        cut = self._route.cut_by
        if cut is not None:
            self._held_by.add(cut)
            cut.counted["connections kept waiting"] += 1
            return
        self._connecting = self._loop.create_task(self._connect_upstream())

    async def _connect_upstream(self) -> None:
        where = self._route.upstream
        try:
            if where.host.startswith("/"):
                await self._loop.create_unix_connection(lambda: _End(self, "down"), where.host)
            else:
                await self._loop.create_connection(
                    lambda: _End(self, "down"), where.host, where.port
                )
        except OSError:
            self.reset()

    def _queue(self, direction: Direction, data: bytes, late: float) -> None:
        queue = self._pipes[direction].queue
        due = self._loop.time() + late
        if queue:
            due = max(due, queue[-1][0])  # a stream keeps its order
        held = self._route.held_by(direction)
        if held is not None:
            self._held_by.add(held)
            held.counted["bytes kept back"] += len(data)
        queue.append((due, data))
        self._pump(direction)

    def _pump(self, direction: Direction) -> None:
        """Deliver what is due, unless it is kept back."""
        pipe = self._pipes[direction]
        if _OTHER[direction] not in self._ends or self not in self._route.pairs:
            return
        while pipe.queue and self._silenced_by is None:
            if self._route.held_by(direction) is not None:
                return
            due, data = pipe.queue[0]
            if due > self._loop.time():
                self._loop.call_at(due, self._pump, direction)
                return
            pipe.queue.popleft()
            pipe.kept -= len(data)
            if pipe.finished:
                continue
            if data == _FIN:
                self.finish(direction)
            elif all(rule.pass_on(self, direction, data) for rule in tuple(self._route.rules)):
                self.deliver(direction, data)
        if pipe.paused and direction not in self._lost:
            pipe.paused = False
            self._ends[direction].resume_reading()

    def _end(self) -> None:
        for transport in self._ends.values():
            transport.close()
        self._forget()

    def _forget(self) -> None:
        self._route.pairs.discard(self)
        if self._connecting is not None and "down" not in self._ends:
            self._connecting.cancel()


class _End(asyncio.Protocol):
    """One end's socket."""

    def __init__(self, pair: _Pair, direction: Direction) -> None:
        self._pair = pair
        self._direction = direction

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pair.connected(self._direction, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._pair.received(self._direction, data)

    def eof_received(self) -> bool:
        self._pair.ended(self._direction)
        return True  # the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        self._pair.lost(self._direction)
