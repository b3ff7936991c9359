"""How many connections there may be, which of them give way, and what is said where no descriptor is left."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from yasdg_app.web import connections
from yasdg_app.web.connections import MAX_CONNECTIONS, max_connections, max_streams
from yasdg_app.web.responses import COMMON_HEADERS
from yasdg_app.web.runner import NO_DESCRIPTOR, Runner
from yasdg_app.web.sse_broadcaster import MAX_CLIENTS

HEAD = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n"
ASKED = HEAD + b"\r\n"
SECONDS = 20.0  # in which everything here has come to pass


class Served:
    """A server with a page that answers when it is told to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.runner: Runner
        self.go = asyncio.Event()
        self.begun = 0
        self.answer = b"at last"
        self._kept: list[asyncio.StreamWriter] = []  # one that is forgotten is closed

    async def open(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._kept.append(writer)
        writer.write(data)
        return reader, writer

    async def page(self, request: web.Request) -> web.Response:
        self.begun += 1
        await self.go.wait()
        return web.Response(body=self.answer)

    async def until(self, begun: int) -> None:
        async with asyncio.timeout(SECONDS):
            while self.begun < begun:
                await asyncio.sleep(0.01)


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(connections, "EVICTED_AT_ONCE", 1)
    monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.1)
    listening = socket.create_server(("127.0.0.1", 0))
    own = Served(listening.getsockname()[1])
    app = web.Application()
    app.router.add_get("/slow", own.page)
    runner = Runner(app, 1.0)
    own.runner = runner
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield own
    own.go.set()
    await runner.cleanup()


async def read(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection is closed."""
    async with asyncio.timeout(SECONDS):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


def test_half_of_the_descriptors_are_for_connections_and_never_too_many() -> None:
    assert max_connections(1024) == 512
    assert max_connections(2**31) == MAX_CONNECTIONS
    assert max_streams(512) == 384
    assert max_streams(MAX_CONNECTIONS) >= MAX_CLIENTS  # of event streams


async def test_the_oldest_that_waits_gives_way_and_no_request_that_is_answered(served: Served) -> None:
    answered, _ = await served.open(ASKED)
    await served.until(1)
    oldest, _ = await served.open(HEAD)
    await asyncio.sleep(0.05)
    others = [await served.open() for _ in range(2)]
    await asyncio.sleep(0.05)
    _, asking = await served.open(ASKED)
    await served.until(2)
    said = await read(oldest)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b'{"error":' in said
    for name, value in COMMON_HEADERS.items():
        assert f"{name}: {value}".encode() in said
    assert not any(reader.at_eof() for reader, _ in others)
    served.go.set()
    assert (await answered.readline()).startswith(b"HTTP/1.1 200")
    asking.close()


async def test_where_none_can_give_way_a_new_one_is_told_so(served: Served) -> None:
    busy = [await served.open(ASKED) for _ in range(4)]
    await served.until(4)
    refused, _ = await served.open(ASKED)
    said = await read(refused)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in said
    silent, _ = await served.open()
    assert await read(silent) == b""  # it did not even ask
    served.go.set()
    assert [(await reader.readline())[:12] for reader, _ in busy] == [b"HTTP/1.1 200"] * 4


@pytest.mark.parametrize("begin", [b"", b"GET /", HEAD])
async def test_headers_have_to_come_in_time_and_not_only_some_byte_of_them(served: Served, begin: bytes) -> None:
    reader, writer = await served.open(begin)
    closed = asyncio.create_task(read(reader))
    async with asyncio.timeout(SECONDS):
        while not closed.done():
            if begin:
                writer.write(b"x")
            await asyncio.sleep(0.1)
    assert await closed == b""


async def test_that_no_descriptor_is_left_is_told_once_in_one_line(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    idle, _ = await served.open()
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    for _ in range(100):
        context: dict[str, Any] = {"message": NO_DESCRIPTOR, "exception": OSError(errno.EMFILE, os.strerror(24))}
        loop.call_exception_handler(context)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "LimitNOFILE" in record.getMessage()
    assert record.exc_info is None
    assert await read(idle) == b""  # it gave way
    loop.call_exception_handler({"message": "something else"})
    assert len(caplog.records) == 2


async def test_of_those_beyond_the_bound_only_some_are_even_told_so(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_REJECTED", 2)
    busy = [await served.open(ASKED) for _ in range(4)]
    await served.until(4)
    refused = [await served.open() for _ in range(2)]
    await asyncio.sleep(0.05)
    more, _ = await served.open()
    assert await read(more) == b""
    for _, writer in refused:
        writer.write(ASKED)
    assert [(await read(reader))[:12] for reader, _ in refused] == [b"HTTP/1.1 503"] * 2
    served.go.set()
    assert [(await reader.readline())[:12] for reader, _ in busy] == [b"HTTP/1.1 200"] * 4


async def test_an_answer_that_nobody_takes_is_closed_in_the_end(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.5)
    served.answer = b"x" * 20_000_000
    served.go.set()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.setblocking(False)
        connection.send(ASKED)
        await served.until(1)
        await asyncio.sleep(1.5)
        assert await taken_from(connection) < len(served.answer)


async def taken_from(connection: socket.socket) -> int:
    """How many bytes come until the connection is closed."""
    taken, loop = 0, asyncio.get_running_loop()
    async with asyncio.timeout(SECONDS):
        try:
            while data := await loop.sock_recv(connection, 1 << 20):
                taken += len(data)
        except ConnectionError:
            pass
    return taken


async def test_a_connection_that_is_being_closed_in_order_is_still_closed_in_the_end(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.5)
    served.answer = b"x" * 20_000_000
    served.go.set()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.setblocking(False)
        connection.send(ASKED)
        await served.until(1)
        await asyncio.sleep(0.2)
        assert served.runner.server is not None
        (its,) = served.runner.server.connections
        its.force_close()  # as aiohttp does after its own time
        await asyncio.sleep(1.5)
        assert served.runner.server.connections == []
        assert await taken_from(connection) < len(served.answer)


async def test_one_that_is_refused_and_takes_nothing_is_closed_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REJECT_SECONDS", 0.3)
    monkeypatch.setattr(connections, "TOO_MANY", b"x" * 20_000_000)
    busy = [await served.open(ASKED) for _ in range(4)]
    await served.until(4)
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.setblocking(False)
        connection.send(ASKED)
        await asyncio.sleep(1.0)
        assert await taken_from(connection) < len(connections.TOO_MANY)
    served.go.set()
    assert [(await reader.readline())[:12] for reader, _ in busy] == [b"HTTP/1.1 200"] * 4


async def test_proxies_close_an_idle_connection_before_we_do_and_we_before_aiohttp(served: Served) -> None:
    await served.open()
    await asyncio.sleep(0.1)
    assert served.runner.server is not None
    (its,) = served.runner.server.connections
    assert 60 < connections.IDLE_SECONDS < its.keepalive_timeout
