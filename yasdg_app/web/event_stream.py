"""`/events/`: what there is to see in the whole shop, twice a second at most, to whoever listens."""

import time
from typing import Any

import orjson
from aiohttp.web import Response

from yasdg_app.application import app
from yasdg_app.process.descriptors import descriptor_limit
from yasdg_app.web.connections import max_connections, max_listeners
from yasdg_app.web.responses import answer
from yasdg_app.web.snapshot import Looker, is_open
from yasdg_app.web.sse_broadcaster import STREAM, Audience

looker = Looker()


async def look() -> bytes | None:
    """Return what there is to see now as an event; None as long as the shop is not open."""
    if not is_open():
        return None
    now, clock = time.time_ns() // 1000, app.opening.clock
    seen = await looker.look(clock.at(now), clock.pace(now))
    return b"event: snapshot\ndata: " + orjson.dumps(seen) + b"\n\n"


audience = Audience(look, lambda: app.closing)


async def end(_: Any) -> None:
    """Let all go, now that the worker ends."""
    await audience.tell()


server: Any = app.web
server.web_app.on_shutdown.append(end)


@app.page("/events/")
async def events(web: Any, request: Any) -> Any:
    """Send what there is to see."""
    if request.method == "HEAD":
        return Response(headers=STREAM)
    if audience.is_full or audience.listeners >= max_listeners(max_connections(descriptor_limit())):
        return answer({"error": f"{audience.listeners} listen already."}, 503, {"Retry-After": "10"})
    return await audience.serve(request)
