"""Broadcasts server-sent events: each event is produced once and sent to all clients.

While no client is connected, no event is produced. A client that has read its last event receives the newest one: a
slow client skips events, and a client that reads nothing is disconnected. Must not know what the events contain.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from yasdg_app.web.log_limits import LogLimiter, suppressed_note
from yasdg_app.web.responses import COMMON_HEADERS, NO_STORE

logger = logging.getLogger(__name__)

EVENT_SECONDS = 0.5  # between two events
MIN_PAUSE_SECONDS = 0.1  # from the end of producing an event to the beginning of the next
HEARTBEAT_SECONDS = 10.0  # without an event, after which a comment is sent
WRITE_SECONDS = 5.0  # for a client to read what it is sent
MAX_CLIENTS = 500
RETRY = b"retry: 1000\n\n"  # milliseconds after which a browser reconnects
COMMENT = b":\n\n"
STREAM_HEADERS = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **COMMON_HEADERS, **NO_STORE}


class SseBroadcaster:
    """Sends events to all connected clients.

    Parameters
    ----------
    next_event
        Returns the next event; None if there is none now.
    is_closing
        Returns whether the worker is stopping: then all clients are disconnected.

    Attributes
    ----------
    clients
        Number of connected clients.
    dropped
        Number of clients that were disconnected because they read nothing.
    """

    def __init__(self, next_event: Callable[[], Awaitable[bytes | None]], is_closing: Callable[[], bool]) -> None:
        self.clients = 0
        self.dropped = 0
        self._next_event = next_event
        self._is_closing = is_closing
        self._producer: asyncio.Task[None] | None = None
        self._newest = b""
        self._number = 0  # of the newest event
        self._changed = asyncio.Condition()
        self._failures = LogLimiter(time.monotonic)

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of clients is connected."""
        return self.clients >= MAX_CLIENTS

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send events to a client until it disconnects, or the worker stops."""
        response = web.StreamResponse(headers=STREAM_HEADERS)
        self.clients += 1
        try:
            await response.prepare(request)
            await response.write(RETRY)
            seen = 0
            if self._producer is None or self._producer.done():
                seen = self._number  # the last event is outdated
                self._producer = asyncio.create_task(self._produce())
            while not self._is_closing():
                seen, event = await self._newer_than(seen)
                if event:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await response.write(event)
        except TimeoutError:
            self.dropped += 1
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the client disconnected
        finally:
            self.clients -= 1
        return response

    async def _newer_than(self, seen: int) -> tuple[int, bytes]:
        """Wait for an event newer than number `seen`; return its number and the event, or a comment as heartbeat."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._number > seen or self._is_closing())
        except TimeoutError:
            return seen, COMMENT
        return (self._number, self._newest) if self._number > seen else (seen, b"")

    async def _produce(self) -> None:
        """Produce events while a client is connected."""
        while self.clients and not self._is_closing():
            began = time.monotonic()
            try:
                event = await self._next_event()
            except Exception:  # the next attempt may succeed
                if (suppressed := self._failures.request()) is not None:
                    logger.exception("Cannot produce an event for /events/; retrying.%s", suppressed_note(suppressed))
                event = None
            if event is not None:
                self._newest = event
                self._number += 1
            await self.wake_all()
            await asyncio.sleep(max(EVENT_SECONDS - (time.monotonic() - began), MIN_PAUSE_SECONDS))
        await self.wake_all()

    async def wake_all(self) -> None:
        """Wake all waiting clients, to send a new event or to notice that the worker is stopping."""
        async with self._changed:
            self._changed.notify_all()
