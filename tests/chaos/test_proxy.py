"""The proxy breaks links the way networks do: byte by byte, on real sockets and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from paxcommit.drivers import choose_async
from paxcommit.sql.statement import Sql
from paxcommit.testing import Cluster
from paxcommit.testing.chaos.addresses import redirected, upstream_of
from paxcommit.testing.chaos.proxy import Proxy, Route, Upstream
from paxcommit.testing.chaos.rules import BlackHole, Cut, Delay, Drop, HalfClose


class Conversation:
    """A client's connection through the proxy, and the server's end of it."""

    def __init__(self, proxy: Proxy, route: Route, arrivals: asyncio.Queue[Peer]) -> None:
        self.proxy = proxy
        self.route = route
        self._arrivals = arrivals
        self.clients: list[Peer] = []

    async def client(self, route: Route | None = None) -> Peer:
        port = (route or self.route).port
        self.clients.append(Peer(*await asyncio.open_connection("127.0.0.1", port)))
        return self.clients[-1]

    async def server(self) -> Peer:
        async with asyncio.timeout(10):
            return await self._arrivals.get()

    async def both(self) -> tuple[Peer, Peer]:
        return await self.client(), await self.server()


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, count: int) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.readexactly(count)

    async def hear_all(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def close(self) -> None:
        with suppress(OSError):
            self.writer.close()
            await self.writer.wait_closed()


@asynccontextmanager
async def conversing() -> AsyncIterator[Conversation]:
    arrivals: asyncio.Queue[Peer] = asyncio.Queue()
    accepted: list[Peer] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(Peer(reader, writer))
        arrivals.put_nowait(accepted[-1])

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
    async with Proxy() as proxy:
        talk = Conversation(proxy, await proxy.add("c1", "a1", upstream), arrivals)
        try:
            yield talk
        finally:
            for peer in (*talk.clients, *accepted):
                await peer.close()
            server.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - the proxy tells nobody
            await asyncio.sleep(0)


async def test_bytes_and_ends_pass_both_ways() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        client.say(b"question")
        client.writer.write_eof()
        assert await server.hear_all() == b"question"
        server.say(b"answer")
        server.writer.close()
        assert await client.hear_all() == b"answer"
        await until(lambda: not talk.route.pairs)


async def test_what_is_sent_into_a_cut_arrives_late_and_in_order() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        cut = Cut()
        talk.proxy.apply(cut, [talk.route])
        client.say(b"one")
        server.say(b"uno")
        await until(lambda: cut.counted["bytes kept back"] == 6)
        client.say(b"two")
        client.writer.close()  # nor does the server learn that the client has gone
        await until(lambda: cut.counted["bytes kept back"] == 9)
        assert not server.reader.at_eof()
        talk.proxy.lift(cut)
        assert await server.hear_all() == b"onetwo"


async def test_a_cut_may_end_in_resets_and_then_nothing_arrives() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        cut = Cut(late=False)
        talk.proxy.apply(cut, [talk.route])
        client.say(b"lost")
        await until(lambda: cut.counted["bytes kept back"] == 4)
        talk.proxy.lift(cut)
        for end in (client, server):
            with suppress(ConnectionResetError):
                assert await end.hear_all() == b""
        assert cut.counted["connections reset"] == 1


async def test_new_connections_wait_for_the_end_of_a_cut() -> None:
    async with conversing() as talk:
        cut = Cut()
        talk.proxy.apply(cut, [talk.route])
        client = await talk.client()
        client.say(b"hello")
        await until(lambda: cut.counted["connections kept waiting"] == 1)
        assert talk.route.connections == 0
        talk.proxy.lift(cut)
        assert await (await talk.server()).hear(5) == b"hello"


async def test_one_way_requests_arrive_and_answers_do_not() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        cut = Cut(up=False)
        talk.proxy.apply(cut, [talk.route])
        client.say(b"question")
        assert await server.hear(8) == b"question"
        server.say(b"answer")
        await until(lambda: cut.counted["bytes kept back"] == 6)
        talk.proxy.lift(cut)
        assert await client.hear(6) == b"answer"


async def test_a_partition_tells_processes_and_sites_apart() -> None:
    async with conversing() as talk:
        other = await talk.proxy.add("c2", "a1", talk.route.upstream)
        third = await talk.proxy.add("c2", "bank", talk.route.upstream)
        assert talk.proxy.find(processes=["c2"]) == [other, third]
        assert talk.proxy.find(processes=["c2"], sites=["bank"]) == [third]
        assert len({route.port for route in talk.proxy.find()}) == 3
        cut = Cut()
        talk.proxy.apply(cut, talk.proxy.find(processes=["c1"]))
        client = await talk.client(other)
        client.say(b"free")
        server = await talk.server()
        assert await server.hear(4) == b"free"


async def test_delayed_bytes_keep_their_order() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        rule = Delay(Random(1), 0.02)
        talk.proxy.apply(rule, [talk.route])
        said = b"".join(b"%03d" % number for number in range(100))
        for at in range(0, len(said), 3):
            client.say(said[at : at + 3])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await server.hear(len(said)) == said
        assert rule.counted["bytes delayed"] == len(said)


async def test_a_dropped_message_resets_both_ends() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        rule = Drop(Random(1), 1.0)
        talk.proxy.apply(rule, [talk.route])
        client.say(b"lost")
        with pytest.raises(ConnectionResetError):
            await server.hear_all()
        with pytest.raises(ConnectionResetError):
            await client.hear_all()
        assert rule.counted == {"connections reset": 1, "bytes dropped": 4}


async def test_half_closed_after_a_request_the_answer_still_comes() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        rule = HalfClose(Random(1), "up", 1.0)
        talk.proxy.apply(rule, [talk.route])
        client.say(b"last")
        assert await server.hear_all() == b"last"
        server.say(b"answer")
        assert await client.hear(6) == b"answer"
        assert rule.counted["connections half closed"] == 1


async def test_half_closed_in_place_of_an_answer_requests_still_arrive() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        talk.proxy.apply(HalfClose(Random(1), "down", 1.0), [talk.route])
        client.say(b"question")
        assert await server.hear(8) == b"question"
        server.say(b"answer")
        assert await client.hear_all() == b""
        client.say(b"more")
        assert await server.hear(4) == b"more"


async def test_a_black_hole_swallows_the_answer_and_the_end_until_it_is_lifted() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        hole = BlackHole(Random(1), 1.0)
        talk.proxy.apply(hole, [talk.route])
        client.say(b"request")
        assert await server.hear(7) == b"request"
        server.say(b"answer")
        client.say(b"anybody?")
        await until(lambda: hole.counted["bytes swallowed"] == 14)
        client.writer.close()
        await client.writer.wait_closed()
        assert not server.reader.at_eof()
        talk.proxy.lift(hole)
        with suppress(ConnectionResetError):
            assert await server.hear_all() == b""


async def test_a_server_that_refuses_resets_the_client() -> None:
    async with conversing() as talk:
        free = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = free.sockets[0].getsockname()[1]
        free.close()
        await free.wait_closed()
        route = await talk.proxy.add("c1", "gone", Upstream("127.0.0.1", port))
        client = await talk.client(route)
        with pytest.raises(ConnectionResetError):
            await client.hear_all()


async def test_a_statement_sent_into_a_cut_is_carried_out_after_its_client_gave_up(
    cluster: Cluster,
) -> None:
    """What makes a late PREPARE: to the server it has just arrived."""
    server = cluster.servers[0]
    dsn = server.dsn()
    async with Proxy() as proxy:
        route = await proxy.add("c1", "s1", upstream_of(dsn))
        session = await choose_async().connect(redirected(dsn, route.port), timeout=10)
        cut = Cut()
        proxy.apply(cut, [route])
        asking = asyncio.create_task(session.execute(Sql("create schema arrived_late")))
        await until(lambda: cut.counted["bytes kept back"] > 0)
        asking.cancel()
        session.discard()
        await asyncio.wait([asking])
        proxy.lift(cut)
        question = "select 1 from pg_namespace where nspname = 'arrived_late'"
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(server.execute, question):
                pass
    server.execute("drop schema arrived_late")


async def test_a_cut_keeps_a_bounded_amount_and_loses_nothing_of_more() -> None:
    async with conversing() as talk:
        client, server = await talk.both()
        cut = Cut()
        talk.proxy.apply(cut, [talk.route])
        said = bytes(range(256)) * (1 << 15)
        client.say(said)
        await until(lambda: cut.counted["bytes kept back"] > 1 << 20)
        assert cut.counted["bytes kept back"] < 1 << 21 < len(said)
        talk.proxy.lift(cut)
        assert await server.hear(len(said)) == said
