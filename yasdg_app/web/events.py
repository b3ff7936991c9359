"""`/events/`: what there is to see, again and again, to whoever listens (server-sent events).

One look at all workers serves all listeners, with the same bytes; while nobody listens there is none. A listener gets
what is newest when it has taken what came before: a slow one misses some, and one that takes nothing is let go.
"""

import asyncio
import logging
import time
from typing import Any

import orjson
from aiohttp import web

from yasdg_app.application import app
from yasdg_app.web.server import HEADERS, NEVER_KEPT, answer
from yasdg_app.web.snapshot import Looker, is_open

logger = logging.getLogger(__name__)

EVERY = 0.5  # seconds between two looks
HEARTBEAT = 10.0  # seconds without an event after which a comment is sent
PATIENCE = 5.0  # seconds in which a listener has to take what it gets
MOST = 500  # listeners
RETRY = b"retry: 1000\n\n"  # milliseconds after which a browser asks again
STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", **HEADERS, **NEVER_KEPT}


class Audience:
    """All who listen.

    Attributes
    ----------
    listeners
        How many they are.
    dropped
        How many were let go because they took nothing.
    """

    def __init__(self) -> None:
        self.listeners = 0
        self.dropped = 0
        self._looker = Looker()
        self._looking: asyncio.Task[None] | None = None
        self._newest = b""
        self._number = 0
        self._changed = asyncio.Condition()
        self._ended = False

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Send what there is to see until somebody goes, or the worker ends."""
        response = web.StreamResponse(headers=STREAM)
        self.listeners += 1
        try:
            await response.prepare(request)
            await response.write(RETRY)
            seen = 0
            if self._looking is None or self._looking.done():
                seen = self._number  # whatever was seen last is old
                self._looking = asyncio.create_task(self._look())
            while True:
                seen, event = await self._next(seen)
                if self._is_over():
                    break
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

    def _is_over(self) -> bool:
        return self._ended or app.closing

    async def _next(self, seen: int) -> tuple[int, bytes]:
        """Return the newest event that a listener has not seen, and its number; a comment if there is none for long."""
        try:
            async with asyncio.timeout(HEARTBEAT), self._changed:
                await self._changed.wait_for(lambda: self._number > seen or self._is_over())
        except TimeoutError:
            return seen, b":\n\n"
        return (self._number, self._newest) if self._number > seen else (seen, b"")

    async def _look(self) -> None:
        """Look while somebody listens."""
        while self.listeners and not self._is_over():
            began = time.monotonic()
            if is_open():
                try:
                    now, clock = time.time_ns() // 1000, app.opening.clock
                    seen = await self._looker.look(clock.at(now), clock.pace(now))
                    self._newest = b"event: snapshot\ndata: " + orjson.dumps(seen) + b"\n\n"
                    self._number += 1
                except Exception:  # the next look may be luckier
                    logger.exception("What there is to see could not be gathered.")
            await self._tell()
            await asyncio.sleep(max(EVERY - (time.monotonic() - began), EVERY / 5))
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def end(self, _: Any = None) -> None:
        """Let all go."""
        self._ended = True
        await self._tell()


audience = Audience()
server: Any = app.web
server.web_app.on_shutdown.append(audience.end)


@app.page("/events/")
async def events(web: Any, request: Any) -> Any:
    """Send what there is to see."""
    if request.method == "HEAD":
        return answer(None, headers={"Content-Type": STREAM["Content-Type"]})
    if audience.listeners >= MOST:
        return answer({"error": f"{MOST} listen already."}, 503, {"Retry-After": "10"})
    return await audience.serve(request)
