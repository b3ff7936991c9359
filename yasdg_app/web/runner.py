"""Runs an aiohttp application on the server of connections.py."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from yasdg_app.process.descriptors import has_none_left
from yasdg_app.web.connections import IDLE_SECONDS, LINGER_SECONDS, BoundedServer
from yasdg_app.web.responses import error_response

ACCEPT_BACKLOG = 64  # new connections in one turn of the event loop, before any of them can be rejected
NO_DESCRIPTOR = "socket.accept() out of system resource"
"""The beginning of asyncio's message about it."""

Handler = Callable[[Any], Awaitable[web.StreamResponse]]


class Runner(web.AppRunner):
    """Runs an aiohttp application.

    Parameters
    ----------
    shutdown_timeout
        Seconds for requests in progress to finish when the server stops.
    """

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._sweeper: asyncio.Task[None] | None = None
        self._restore_exception_handler: Callable[[], None] = lambda: None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = BoundedServer(
            _check_expect(made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=2
            * IDLE_SECONDS,  # aiohttp's orderly close can take for ever, so BoundedServer closes earlier
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,  # requests are small, and a small compressed body can become a large one
        )
        self._sweeper = asyncio.create_task(server.sweep())
        self._handle_descriptor_shortage(server)
        return server

    def _handle_descriptor_shortage(self, server: BoundedServer) -> None:
        """Have the server report missing descriptors: asyncio logs a traceback, up to 64 times a second."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if context.get("message", "").startswith(NO_DESCRIPTOR) and error is not None and has_none_left(error):
                server.handle_descriptor_shortage()
            elif before is not None:
                before(loop, context)
            else:
                loop.default_exception_handler(context)

        loop.set_exception_handler(handle)
        self._restore_exception_handler = lambda: loop.set_exception_handler(before)

    async def _cleanup_server(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._restore_exception_handler()
        await super()._cleanup_server()


def _check_expect(handler: Handler) -> Handler:
    """Reject any Expect header other than HTTP/1.1's 100-continue before aiohttp, which may fail at it, sees it."""

    async def handle(request: Any) -> web.StreamResponse:
        expect = request.headers.get("Expect", "")
        if expect and expect.strip().lower() != "100-continue":
            return error_response(web.HTTPExpectationFailed())
        return await handler(request)

    return handle
