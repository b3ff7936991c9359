"""`/events/`: a snapshot of the whole shop for all clients, at most twice a second (server-sent events)."""

import time

import orjson
from aiohttp import web

from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.process.descriptors import descriptor_limit
from yasdg_app.web.connections import max_connections, max_streams
from yasdg_app.web.responses import json_response
from yasdg_app.web.snapshot import SnapshotBuilder
from yasdg_app.web.sse_broadcaster import STREAM_HEADERS, SseBroadcaster


class EventStream:
    """Sends snapshots.

    Parameters
    ----------
    pipeline
        The parts of the worker: there are snapshots while the shop is open, and clients until the worker stops.
    builder
        Builds snapshots.

    Attributes
    ----------
    broadcaster
        Sends each event to all clients.
    """

    def __init__(self, pipeline: Pipeline, builder: SnapshotBuilder) -> None:
        self._shop = pipeline.shop
        self._builder = builder
        self.broadcaster = SseBroadcaster(self._snapshot_event, lambda: pipeline.life.is_closing)

    async def _snapshot_event(self) -> bytes | None:
        """Return a snapshot as an event; None while the shop is not open."""
        if not self._shop.is_open:
            return None
        now, clock = time.time_ns() // 1000, self._shop.clock
        snapshot = await self._builder.build(clock.at(now), clock.pace(now))
        return b"event: snapshot\ndata: " + orjson.dumps(snapshot) + b"\n\n"

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send snapshots to a client until it disconnects."""
        if request.method == "HEAD":
            return web.Response(headers=STREAM_HEADERS)
        clients = self.broadcaster.clients
        if self.broadcaster.is_full or clients >= max_streams(max_connections(descriptor_limit())):
            error = f"Too many event streams: {clients} are open. Close one, or use another worker."
            return json_response({"error": error}, 503, {"Retry-After": "10"})
        return await self.broadcaster.serve(request)
