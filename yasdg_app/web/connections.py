"""The connections to the web server: how many there may be, and how long each may take.

aiohttp bounds the size of headers and bodies, and closes connections that are idle between two requests. Here it gets
what it does not have: limits of time for headers, bodies and answers that are not taken, and a bound on the number of
connections. Where it is reached, those give way that have no request to be answered, the oldest first; so a client
that opens a thousand connections takes them from itself. Must not know what the pages show.
"""

import asyncio
import heapq
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from yasdg_app.process.descriptors import descriptor_limit, has_none_left
from yasdg_app.web.log_limits import Seldom, since
from yasdg_app.web.responses import answer, complete, raw, refused

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1_000
"""At a time; half of the descriptors that the process may have, if those are fewer than twice as many."""
MAX_REFUSED = 64  # connections beyond that which are still told so
EVICTED_AT_ONCE = 16  # connections that give way together, so that not each new one looks for another
ACCEPTED_AT_ONCE = 64  # new connections in one turn of the event loop, before any of them can be refused
HEADER_SECONDS = 10.0  # from the first byte of a request, or the connection, to the end of the request's headers
BODY_SECONDS = 10.0  # from there to the end of its body
IDLE_SECONDS = 75.0  # from an answer to the first byte of the next request; proxies keep a connection for 60 s
TAKE_SECONDS = 60.0  # in which a client has to take an answer
SLOW_SECONDS = 5.0  # after which a client that takes nothing gives way to another one
LINGER_SECONDS = 1.0  # for which a body is read that nobody wants, so that the client sees the answer
REFUSAL_SECONDS = 1.0  # in which a connection beyond the bound has to ask in order to be told so
SWEEP_SECONDS = 1.0  # between two looks at all connections

FULL = raw(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections. Ask again in a moment.", Retry_After="1")
NO_HTTP = "This is not HTTP/1.1 as it is understood here."
WRONG = "Something went wrong here; the worker's log tells what."
NO_DESCRIPTOR = "socket.accept() out of system resource"  # how asyncio begins to say it


def max_connections(descriptors: int) -> int:
    """Return how many connections there may be in a process that may have so many descriptors open."""
    return min(MAX_CONNECTIONS, descriptors // 2)


def max_listeners(connections: int) -> int:
    """Return how many connections of so many may be listeners, which never give way: some are left for questions."""
    return connections * 3 // 4


class Connection(RequestHandler):
    """One connection, and since when it is where it is. Times are those of the event loop, in seconds."""

    def __init__(self, server: "Server", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._socket: asyncio.Transport | None = None  # aiohttp forgets its own when it closes in order
        self._free_since = self._loop.time()  # no request was under way then
        self._asking_since: float | None = None  # when the first byte of a request came that is not answered
        self._read_since: float | None = None  # when its headers were read
        self._untaken_since: float | None = None  # since when the client does not take what it is sent
        self._is_refused = False

    @property
    def gives_way(self) -> float | None:
        """The time since which it waits for its client, so that it may give way; None: something is done for it."""
        if self._untaken_since is not None:
            return self._untaken_since if self._loop.time() - self._untaken_since > SLOW_SECONDS else None
        if self._read_since is not None and self._has_whole_request():
            return None
        return self._free_since if self._asking_since is None else self._asking_since

    @property
    def deadline(self) -> float:
        """The time at which it is closed if nothing has changed."""
        if self._untaken_since is not None:
            return self._untaken_since + TAKE_SECONDS
        if self._read_since is not None:
            # The page answers that a body took too long; this is for a body that nobody reads.
            return float("inf") if self._has_whole_request() else self._read_since + BODY_SECONDS + LINGER_SECONDS
        if self._asking_since is not None:
            return self._asking_since + HEADER_SECONDS
        return self._free_since + (IDLE_SECONDS if self._request_count else HEADER_SECONDS)

    def _has_whole_request(self) -> bool:
        request = self._current_request
        return request is None or request.content.is_eof()

    def give_way(self) -> None:
        """Make room for another one; a client in the middle of a request is told so."""
        if self._asking_since is not None and self._untaken_since is None and self.transport is not None:
            self.transport.write(FULL)
        self.drop()

    def drop(self) -> None:
        """Close it at once, whatever it was about."""
        self._server.forget(self)  # its place is needed before the event loop tells that it is lost
        self.force_close()
        if self._socket is not None:
            self._socket.abort()  # what is closed in order stays open for as long as its client takes nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        if self._server.admit(self):
            super().connection_made(transport)
            return
        self._is_refused = True
        self.transport = self._socket
        if self._server.refused > MAX_REFUSED:
            self.drop()
        else:
            self._loop.call_later(REFUSAL_SECONDS, self.drop)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            if self.transport is not None:
                self.transport.write(FULL)  # now that the request was read: otherwise the answer might get lost
                self.transport.close()
                self.transport = None
            return
        if data and self._asking_since is None:
            self._asking_since = self._loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        self._untaken_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._untaken_since = None
        super().resume_writing()

    async def _handle_request(self, request: Any, start_time: Any, request_handler: Any) -> Any:
        self._read_since = self._loop.time()
        return await super()._handle_request(request, start_time, request_handler)

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> Any:
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            resp = refused(resp)
        if isinstance(resp, web.StreamResponse):
            complete(resp)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._free_since = self._loop.time()
            self._asking_since = self._free_since if self._messages else None  # it asks without waiting for answers
            self._read_since = None

    def handle_error(
        self,
        request: Any,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what is said of a request that is no HTTP, or to which no page could say anything."""
        if request.writer.output_size > 0:
            raise ConnectionError("A part of an answer was sent already.")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._server.tell_failure(exc)
        response = answer({"error": WRONG if status >= HTTPStatus.INTERNAL_SERVER_ERROR else NO_HTTP}, status)
        response.force_close()
        return response


class Server(web.Server):
    """Makes the connections, and looks after them."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._open: set[Connection] = set()
        self._refused: set[Connection] = set()
        self._bound = max_connections(descriptor_limit())
        self._failures = Seldom(time.monotonic)
        self._shortages = Seldom(time.monotonic)

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    @property
    def refused(self) -> int:
        """How many connections beyond the bound there are."""
        return len(self._refused)

    def admit(self, connection: Connection) -> bool:
        """Take a new connection among those that are served, if need be in place of others; False: there is none."""
        if len(self._open) >= self._bound:
            self.make_room(EVICTED_AT_ONCE)
        admitted = len(self._open) < self._bound
        (self._open if admitted else self._refused).add(connection)
        return admitted

    def forget(self, connection: Connection) -> None:
        """Count a connection no longer."""
        self._open.discard(connection)
        self._refused.discard(connection)

    def make_room(self, number: int) -> None:
        """Close so many connections that wait for their clients, those first that have done so for longest."""
        waiting = [(at, id(each), each) for each in self._open if (at := each.gives_way) is not None]
        for _, _, connection in heapq.nsmallest(number, waiting):
            connection.give_way()

    async def sweep(self) -> None:
        """Close what takes too long, for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for connection in [each for each in self._open if each.deadline <= now]:
                connection.drop()

    def tell_failure(self, error: BaseException | None) -> None:
        """Log that a request could not be answered, though that is a fault of ours."""
        if (left_out := self._failures.due()) is not None:
            logger.error("A request could not be answered.%s", since(left_out), exc_info=error)

    def tell_shortage(self) -> None:
        """Log that there is no descriptor for a new connection, and free some."""
        if (left_out := self._shortages.due()) is not None:
            logger.warning(
                "No descriptor is free for a new connection; idle ones are closed. Raise the limit of open files "
                "(LimitNOFILE, ulimit -n) if this happens again.%s",
                since(left_out),
            )
        self.make_room(EVICTED_AT_ONCE)


Handler = Callable[[Any], Awaitable[web.StreamResponse]]


def _expecting(handler: Handler) -> Handler:
    """Refuse what a client expects of us before its body, unless it is what HTTP/1.1 knows; aiohttp may fail at it."""

    async def handle(request: Any) -> web.StreamResponse:
        expect = request.headers.get("Expect", "")
        if expect and expect.strip().lower() != "100-continue":
            return refused(web.HTTPExpectationFailed())
        return await handler(request)

    return handle


class Runner(web.AppRunner):
    """Runs an application on such a server."""

    def __init__(self, app: web.Application, shutdown_timeout: float) -> None:
        super().__init__(app, access_log=None, shutdown_timeout=shutdown_timeout)
        self._sweeping: asyncio.Task[None] | None = None
        self._restore: Callable[[], None] = lambda: None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = Server(
            _expecting(made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=2 * IDLE_SECONDS,  # aiohttp closes in order, which may take for ever: we come first
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,  # nobody sends so much that it is worth it, and a small body may become a large one
        )
        self._sweeping = asyncio.create_task(server.sweep())
        self._listen_to_loop(server)
        return server

    def _listen_to_loop(self, server: Server) -> None:
        """Say ourselves that no descriptor is left: asyncio tells it with a traceback, up to 64 times a second."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()

        def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if context.get("message", "").startswith(NO_DESCRIPTOR) and error is not None and has_none_left(error):
                server.tell_shortage()
            elif before is not None:
                before(loop, context)
            else:
                loop.default_exception_handler(context)

        loop.set_exception_handler(handle)
        self._restore = lambda: loop.set_exception_handler(before)

    async def _cleanup_server(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._restore()
        await super()._cleanup_server()
