"""One event serves all clients, no client delays another, and no event is produced without clients."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from yasdg_app.web import sse_broadcaster
from yasdg_app.web.sse_broadcaster import COMMENT, RETRY, SseBroadcaster


class Show:
    """A server with one thing to see: the numbers of the looks, each as often as `times`."""

    def __init__(self, times: int = 1) -> None:
        self.looks = 0
        self.over = False
        self.times = times
        self.broadcaster = SseBroadcaster(self.look, lambda: self.over)

    async def look(self) -> bytes | None:
        self.looks += 1
        return b"data: " + f"{self.looks} ".encode() * self.times + b"\n\n"

    @asynccontextmanager
    async def server(self) -> AsyncIterator[TestServer]:
        app = web.Application()
        app.router.add_get("/", self.broadcaster.serve)
        async with TestServer(app, handler_cancellation=True) as server:
            yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_broadcaster, "EVENT_SECONDS", 0.02)
    monkeypatch.setattr(sse_broadcaster, "MIN_PAUSE_SECONDS", 0.01)


@asynccontextmanager
async def listening(server: TestServer) -> AsyncIterator[aiohttp.StreamReader]:
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as response:
        assert response.content_type == "text/event-stream"
        yield response.content


async def event(stream: aiohttp.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await stream.readuntil(b"\n\n")


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_all_get_the_same_and_nobody_looks_while_nobody_listens() -> None:
    show = Show()
    async with show.server() as server:
        assert show.looks == 0
        async with listening(server) as one, listening(server) as other:
            assert await event(one) == await event(other) == RETRY
            seen = [{await event(stream) for _ in range(20)} for stream in (one, other)]
            assert len(seen[0] & seen[1]) >= 15
            assert show.broadcaster.clients == 2
        await until(lambda: show.broadcaster.clients == 0)
        await asyncio.sleep(0.1)
        looks = show.looks
        await asyncio.sleep(0.2)
        assert show.looks == looks
        async with listening(server) as one:
            await event(one)
            assert await event(one) == f"data: {looks + 1} \n\n".encode()  # nothing old


async def test_who_takes_nothing_is_let_go_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_broadcaster, "WRITE_SECONDS", 0.3)
    show = Show(times=200_000)  # more than what lies between two sockets
    async with show.server() as server:
        with socket.socket() as lazy:
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.setblocking(False)
            await asyncio.get_running_loop().sock_connect(lazy, (server.host, server.port))
            await asyncio.get_running_loop().sock_sendall(lazy, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
            await until(lambda: show.broadcaster.clients == 1)
            async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as response:
                stream = response.content
                taken = 0
                while show.broadcaster.dropped == 0:
                    async with asyncio.timeout(10):
                        taken += len(await stream.readany())
                assert taken > 200_000
                assert show.broadcaster.clients == 1


async def test_a_comment_is_sent_when_there_is_nothing_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_broadcaster, "HEARTBEAT_SECONDS", 0.05)
    show = Show()

    async def nothing() -> None:
        return None

    show.broadcaster = SseBroadcaster(nothing, lambda: False)
    async with show.server() as server, listening(server) as stream:
        assert [await event(stream) for _ in range(3)] == [RETRY, COMMENT, COMMENT]


async def test_a_look_that_fails_is_followed_by_others() -> None:
    show = Show()

    async def sometimes() -> bytes | None:
        show.looks += 1
        if show.looks < 3:
            raise RuntimeError("on purpose")
        return b"data: seen\n\n"

    show.broadcaster = SseBroadcaster(sometimes, lambda: False)
    async with show.server() as server, listening(server) as stream:
        assert [await event(stream), await event(stream)] == [RETRY, b"data: seen\n\n"]


async def test_when_all_is_over_everybody_is_let_go() -> None:
    show = Show()
    async with show.server() as server, listening(server) as one, listening(server) as other:
        await event(one)
        show.over = True
        await show.broadcaster.wake_all()
        async with asyncio.timeout(10):
            await one.read()
            await other.read()
        await until(lambda: show.broadcaster.clients == 0)


async def test_there_is_an_end_of_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_broadcaster, "MAX_CLIENTS", 2)
    show = Show()
    async with show.server() as server, listening(server) as one:
        await event(one)
        assert not show.broadcaster.is_full
        async with listening(server) as other:
            await event(other)
            assert show.broadcaster.is_full
