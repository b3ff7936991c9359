"""All who listen to one thing that is looked at again and again: server-sent events.

One look serves all of them, with the same bytes; while nobody listens there is none. A listener gets what is newest
when it has taken what came before: a slow one misses some, and one that takes nothing is let go. Must not know what
there is to see.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from yasdg_app.web.log_limits import Seldom, since
from yasdg_app.web.responses import HEADERS, NEVER_KEPT

logger = logging.getLogger(__name__)

EVERY = 0.5  # seconds between two looks
BREATH = 0.1  # seconds, at least, from the end of a look to the next one
HEARTBEAT = 10.0  # seconds without an event after which a comment is sent
PATIENCE = 5.0  # seconds in which a listener has to take what it gets
MOST = 500  # listeners
RETRY = b"retry: 1000\n\n"  # milliseconds after which a browser asks again
COMMENT = b":\n\n"
STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **HEADERS, **NEVER_KEPT}


class Audience:
    """All who listen.

    Parameters
    ----------
    look
        Returns the next event; None if there is none now.
    is_over
        Tells whether all is over: then everybody is let go.

    Attributes
    ----------
    listeners
        How many they are.
    dropped
        How many were let go because they took nothing.
    """

    def __init__(self, look: Callable[[], Awaitable[bytes | None]], is_over: Callable[[], bool]) -> None:
        self.listeners = 0
        self.dropped = 0
        self._look = look
        self._is_over = is_over
        self._looking: asyncio.Task[None] | None = None
        self._newest = b""
        self._number = 0  # of the newest event
        self._told = asyncio.Condition()
        self._failures = Seldom(time.monotonic)

    @property
    def is_full(self) -> bool:
        """Whether nobody else may listen."""
        return self.listeners >= MOST

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send what there is to see until somebody goes, or all is over."""
        response = web.StreamResponse(headers=STREAM)
        self.listeners += 1
        try:
            await response.prepare(request)
            await response.write(RETRY)
            seen = 0
            if self._looking is None or self._looking.done():
                seen = self._number  # whatever was seen last is old
                self._looking = asyncio.create_task(self._look_on())
            while not self._is_over():
                seen, event = await self._next(seen)
                if event:
                    async with asyncio.timeout(PATIENCE):
                        await response.write(event)
        except TimeoutError:
            self.dropped += 1
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # it went
        finally:
            self.listeners -= 1
        return response

    async def _next(self, seen: int) -> tuple[int, bytes]:
        """Return the newest event that a listener has not seen, and its number; a comment if there is none for long."""
        try:
            async with asyncio.timeout(HEARTBEAT), self._told:
                await self._told.wait_for(lambda: self._number > seen or self._is_over())
        except TimeoutError:
            return seen, COMMENT
        return (self._number, self._newest) if self._number > seen else (seen, b"")

    async def _look_on(self) -> None:
        """Look while somebody listens."""
        while self.listeners and not self._is_over():
            began = time.monotonic()
            try:
                event = await self._look()
            except Exception:  # the next look may be luckier
                if (left_out := self._failures.due()) is not None:
                    logger.exception("There is nothing to be seen.%s", since(left_out))
                event = None
            if event is not None:
                self._newest = event
                self._number += 1
            await self.tell()
            await asyncio.sleep(max(EVERY - (time.monotonic() - began), BREATH))
        await self.tell()

    async def tell(self) -> None:
        """Wake all who wait."""
        async with self._told:
            self._told.notify_all()
