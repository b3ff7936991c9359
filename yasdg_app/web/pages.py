"""All pages in one place: each path, and the method that answers it.

A page is an async method of a class that gets what it needs, mostly the `Pipeline`, in its constructor. It takes the
request and the variable parts of the path, and returns a response; see `StaticFiles`. To add a page, create the object
in `Pages` and add a line to its `routes`. A page without an HTTP method there is for GET; HEAD comes with GET.

Pages take the shop from their arguments (`pipeline.shop.settings`, `pipeline.shop.manifest`, …), never from a global.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from faust.web import View

from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.event_stream import EventStream
from yasdg_app.web.health import Health
from yasdg_app.web.incidents import IncidentPages
from yasdg_app.web.metrics import Metrics
from yasdg_app.web.partial_results import PartialResults
from yasdg_app.web.partial_snapshot import PartialSnapshots
from yasdg_app.web.peer_client import PeerClient
from yasdg_app.web.scatter_gather import ScatterGather
from yasdg_app.web.share import SharePage
from yasdg_app.web.snapshot import SnapshotBuilder
from yasdg_app.web.static_files import StaticFiles
from yasdg_app.web.views import Views
from yasdg_app.web.worker_directory import GroupDirectory
from yasdg_app.web.worker_state import StateReporter

Page = Callable[..., Awaitable[web.StreamResponse]]
"""Answers a request: called with it, and with the variable parts of the path by name."""
Methods = Mapping[str, Page]
"""Pages by HTTP method, in lower case."""


class Pages:
    """All pages of a worker, and the objects that they share.

    Parameters
    ----------
    app
        The Faust app, which has not been started yet.
    pipeline
        The parts of the worker.
    """

    def __init__(self, app: ShopApp, pipeline: Pipeline) -> None:
        settings = pipeline.shop.settings
        self.files = StaticFiles()
        self.health = Health(pipeline)
        self.incidents = IncidentPages(pipeline)

        # This worker's part of the stream, for its own pages and for other workers
        self.state = StateReporter(pipeline, self.health)
        results = PartialResults(pipeline, self.state)
        snapshots = PartialSnapshots(pipeline, self.state, results)
        self.share = SharePage(pipeline.shop, self.state, results, snapshots)

        # The whole stream
        directory = GroupDirectory(app, pipeline.inventory)
        self.peers = PeerClient(settings.web.token)
        scatter_gather = ScatterGather(directory, self.peers, settings.kafka.partitions)
        self.views = Views(pipeline, self.state, results, scatter_gather, directory)
        self.stream = EventStream(pipeline, SnapshotBuilder(pipeline, snapshots, scatter_gather, directory))

        self.metrics = Metrics(app, pipeline, self.health, self.stream.broadcaster, scatter_gather)

    def routes(self) -> dict[str, Page | Methods]:
        """Return all pages by path."""
        return {
            "/": self.files.index,
            "/page/{file}": self.files.file,
            "/openapi.json": self.files.openapi,
            "/products/": self.views.products,
            "/inventory/": self.views.levels,
            "/inventory/{product_id}/": self.views.level,
            "/sales/": self.views.sales,
            "/workers/": self.views.workers,
            "/incidents/": {"get": self.incidents.list_all, "post": self.incidents.add},
            "/incidents/{name}/": {"delete": self.incidents.end},
            "/events/": self.stream.events,
            "/share/": self.share.share,
            "/health/": self.health.health,
            "/ready/": self.health.ready,
            "/metrics": self.metrics.metrics,
        }

    async def disconnect_clients(self, _: web.Application) -> None:
        """Disconnect the clients of `/events/`, when the worker stops."""
        await self.stream.broadcaster.wake_all()

    async def close(self, _: web.Application) -> None:
        """Close the connections to other workers, when the web server has stopped."""
        await self.peers.close()


def register_pages(app: ShopApp, pipeline: Pipeline) -> Pages:
    """Add all pages to the web server of an app, and return them."""
    pages = Pages(app, pipeline)
    for path, page in pages.routes().items():
        register(app, path, page if isinstance(page, Mapping) else {"get": page})
    server: Any = app.web
    server.web_app.on_shutdown.append(pages.disconnect_clients)
    server.web_app.on_cleanup.append(pages.close)
    return pages


def register(app: ShopApp, path: str, methods: Methods) -> None:
    """Add a page to the web server of an app."""
    name = "_".join(page.__name__ for page in methods.values())
    handlers: dict[str, Any] = {method: staticmethod(page) for method, page in methods.items()}
    app.page(path, name=path)(type(name, (View,), handlers))
