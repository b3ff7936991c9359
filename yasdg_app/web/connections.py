"""Client connections of the web server: how many there may be, and how long each step of a request may take.

aiohttp limits the size of headers and bodies, and closes connections that are idle between two requests. This module
adds what it lacks: time limits for headers, bodies and for reading the response, and a limit on the number of
connections. At that limit, connections without a complete request are evicted, the oldest first; so a client that opens
a thousand connections only evicts its own. Must not know any page.
"""

import asyncio
import heapq
import logging
import time
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from yasdg_app.process.descriptors import descriptor_limit
from yasdg_app.web.log_limits import LogLimiter, suppressed_note
from yasdg_app.web.responses import add_common_headers, error_response, json_response, raw_response

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1_000
"""At a time; half of the process's limit of open files, if that is less."""
MAX_REJECTED = 64  # connections beyond the limit that still receive a response
EVICTED_AT_ONCE = 16  # connections, so that not every new connection has to search for another one
HEADER_SECONDS = 10.0  # from the first byte of a request, or the connection, to the end of the request's headers
BODY_SECONDS = 10.0  # from there to the end of its body
IDLE_SECONDS = 75.0  # from a response to the first byte of the next request; proxies keep a connection for 60 s
SEND_SECONDS = 60.0  # for a client to receive a response
STALLED_SECONDS = 5.0  # without reading anything, after which a client can be evicted
LINGER_SECONDS = 1.0  # for which an unwanted body is read, so that the client receives the response
REJECT_SECONDS = 1.0  # for a client beyond the limit to send a request, and so to receive a response
SWEEP_SECONDS = 1.0  # between two checks of all deadlines

TOO_MANY = raw_response(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections. Try again in a moment.", Retry_After="1")
MALFORMED = "Malformed HTTP request: expected HTTP/1.1."
INTERNAL_ERROR = "Internal error; see the worker's log."


def max_connections(descriptors: int) -> int:
    """Return the maximum number of connections of a process that may open `descriptors` files."""
    return min(MAX_CONNECTIONS, descriptors // 2)


def max_streams(connections: int) -> int:
    """Return how many of `connections` may be event streams, which are never evicted: the rest is for requests."""
    return connections * 3 // 4


class ClientConnection(RequestHandler):
    """One client connection, and the times at which it reached its current state (event loop time, in seconds)."""

    def __init__(self, server: "BoundedServer", **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server
        self._socket: asyncio.Transport | None = None  # aiohttp drops its own reference on an orderly close
        self._idle_since = self._loop.time()
        self._request_since: float | None = None  # first byte of a request that has not been answered
        self._headers_read_at: float | None = None
        self._stalled_since: float | None = None  # the client does not read what it is sent
        self._is_rejected = False

    @property
    def evictable_since(self) -> float | None:
        """The time since which it waits for its client, so that it can be evicted; None: a request is in progress."""
        if self._stalled_since is not None:
            return self._stalled_since if self._loop.time() - self._stalled_since > STALLED_SECONDS else None
        if self._headers_read_at is not None and self._has_whole_request():
            return None
        return self._idle_since if self._request_since is None else self._request_since

    @property
    def deadline(self) -> float:
        """The time at which it is closed unless its state changes."""
        if self._stalled_since is not None:
            return self._stalled_since + SEND_SECONDS
        if self._headers_read_at is not None:
            # The page itself reports a body that is late; this deadline is for a body that no page reads.
            limit = self._headers_read_at + BODY_SECONDS + LINGER_SECONDS
            return float("inf") if self._has_whole_request() else limit
        if self._request_since is not None:
            return self._request_since + HEADER_SECONDS
        return self._idle_since + (IDLE_SECONDS if self._request_count else HEADER_SECONDS)

    def _has_whole_request(self) -> bool:
        request = self._current_request
        return request is None or request.content.is_eof()

    def evict(self) -> None:
        """Close it to make room for another one; a client that is sending a request receives 503."""
        if self._request_since is not None and self._stalled_since is None and self.transport is not None:
            self.transport.write(TOO_MANY)
        self.abort()

    def abort(self) -> None:
        """Close it immediately, whatever its state."""
        self._server.forget(self)  # its slot is needed before the event loop reports that it is lost
        self.force_close()
        if self._socket is not None:
            self._socket.abort()  # an orderly close would wait for as long as its client reads nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)
        if self._server.admit(self):
            super().connection_made(transport)
            return
        self._is_rejected = True
        self.transport = self._socket
        if self._server.rejected > MAX_REJECTED:
            self.abort()
        else:
            self._loop.call_later(REJECT_SECONDS, self.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._server.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_rejected:
            if self.transport is not None:
                self.transport.write(TOO_MANY)  # only after the request was read; before, the response could get lost
                self.transport.close()
                self.transport = None
            return
        if data and self._request_since is None:
            self._request_since = self._loop.time()
        super().data_received(data)

    def pause_writing(self) -> None:
        self._stalled_since = self._loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_since = None
        super().resume_writing()

    async def _handle_request(self, request: Any, start_time: Any, request_handler: Any) -> Any:
        self._headers_read_at = self._loop.time()
        return await super()._handle_request(request, start_time, request_handler)

    async def finish_response(self, request: Any, resp: Any, start_time: float | None) -> Any:
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            resp = error_response(resp)
        if isinstance(resp, web.StreamResponse):
            add_common_headers(resp)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._idle_since = self._loop.time()
            self._request_since = self._idle_since if self._messages else None  # pipelined requests
            self._headers_read_at = None

    def handle_error(
        self,
        request: Any,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a request that is not HTTP, or that failed outside of any page."""
        if request.writer.output_size > 0:
            raise ConnectionError("A part of the response has been sent already.")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._server.log_failure(exc)
        error = INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else MALFORMED
        response = json_response({"error": error}, status)
        response.force_close()
        return response


class BoundedServer(web.Server):
    """Creates the connections, limits their number, and closes those that take too long."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._open: set[ClientConnection] = set()
        self._rejected: set[ClientConnection] = set()
        self._limit = max_connections(descriptor_limit())
        self._failures = LogLimiter(time.monotonic)
        self._shortages = LogLimiter(time.monotonic)

    def __call__(self) -> RequestHandler:
        return ClientConnection(self, loop=self._loop, **self._kwargs)

    @property
    def rejected(self) -> int:
        """The number of open connections beyond the limit."""
        return len(self._rejected)

    def admit(self, connection: ClientConnection) -> bool:
        """Register a new connection, evicting others if necessary; False: it is beyond the limit."""
        if len(self._open) >= self._limit:
            self.evict(EVICTED_AT_ONCE)
        admitted = len(self._open) < self._limit
        (self._open if admitted else self._rejected).add(connection)
        return admitted

    def forget(self, connection: ClientConnection) -> None:
        """Remove a connection from the count."""
        self._open.discard(connection)
        self._rejected.discard(connection)

    def evict(self, number: int) -> None:
        """Close up to `number` connections that wait for their clients, those that have waited longest first."""
        waiting = [(at, id(each), each) for each in self._open if (at := each.evictable_since) is not None]
        for _, _, connection in heapq.nsmallest(number, waiting):
            connection.evict()

    async def sweep(self) -> None:
        """Close connections beyond their deadline, for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for connection in [each for each in self._open if each.deadline <= now]:
                connection.abort()

    def log_failure(self, error: BaseException | None) -> None:
        """Log that a request failed with an internal error."""
        if (suppressed := self._failures.request()) is not None:
            logger.error("A request failed with an internal error.%s", suppressed_note(suppressed), exc_info=error)

    def handle_descriptor_shortage(self) -> None:
        """Log that no file descriptor is left for a new connection, and evict some connections."""
        if (suppressed := self._shortages.request()) is not None:
            logger.warning(
                "No file descriptor is left for a new connection; closing idle connections. If this happens again, "
                "raise the limit of open files (LimitNOFILE, ulimit -n).%s",
                suppressed_note(suppressed),
            )
        self.evict(EVICTED_AT_ONCE)
