"""`/events/`: a snapshot of the whole shop for all clients, at most twice a second (server-sent events)."""

import time
from typing import Any

import orjson
from aiohttp.web import Response

from yasdg_app.application import app
from yasdg_app.process.descriptors import descriptor_limit
from yasdg_app.web.connections import max_connections, max_streams
from yasdg_app.web.responses import json_response
from yasdg_app.web.snapshot import SnapshotBuilder, is_open
from yasdg_app.web.sse_broadcaster import STREAM_HEADERS, SseBroadcaster

builder = SnapshotBuilder()


async def snapshot_event() -> bytes | None:
    """Return a snapshot as an event; None while the shop is not open."""
    if not is_open():
        return None
    now, clock = time.time_ns() // 1000, app.opening.clock
    snapshot = await builder.build(clock.at(now), clock.pace(now))
    return b"event: snapshot\ndata: " + orjson.dumps(snapshot) + b"\n\n"


broadcaster = SseBroadcaster(snapshot_event, lambda: app.closing)


async def end(_: Any) -> None:
    """Disconnect all clients when the worker stops."""
    await broadcaster.wake_all()


server: Any = app.web
server.web_app.on_shutdown.append(end)


@app.page("/events/")
async def events(web: Any, request: Any) -> Any:
    """Send snapshots to a client until it disconnects."""
    if request.method == "HEAD":
        return Response(headers=STREAM_HEADERS)
    if broadcaster.is_full or broadcaster.clients >= max_streams(max_connections(descriptor_limit())):
        error = f"Too many event streams: {broadcaster.clients} are open. Close one, or use another worker."
        return json_response({"error": error}, 503, {"Retry-After": "10"})
    return await broadcaster.serve(request)
