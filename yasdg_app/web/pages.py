"""All pages, in one place: each path, and what answers it.

A page is an async method of a class that gets what it needs, mostly the `Pipeline`, in its constructor. It takes the
request and the variable parts of the path, and returns a response; see `StaticPages`. To add one, make the object in
`routes` and add a line to its table. GET is meant where no method is named; HEAD comes with GET.

Pages take the shop from what they were given (`pipeline.shop.settings`, `pipeline.shop.manifest`, …), never from a
global.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from faust.web import View

from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.web.static_files import StaticPages

Page = Callable[..., Awaitable[web.StreamResponse]]
"""Answers a request: called with it, and with the variable parts of the path by name."""
Methods = Mapping[str, Page]
"""Pages by HTTP method, in lower case."""


def routes(pipeline: Pipeline) -> dict[str, Page | Methods]:
    """Return all pages of a worker by path."""
    files = StaticPages()
    return {
        "/": files.index,
        "/page/{file}": files.file,
        "/openapi.json": files.openapi,
    }


def register_pages(app: ShopApp, pipeline: Pipeline) -> None:
    """Add all pages to the web server of an app."""
    for path, page in routes(pipeline).items():
        register(app, path, page if isinstance(page, Mapping) else {"get": page})


def register(app: ShopApp, path: str, methods: Methods) -> None:
    """Add a page to the web server of an app."""
    name = "_".join(page.__name__ for page in methods.values())
    handlers: dict[str, Any] = {method: staticmethod(page) for method, page in methods.items()}
    app.page(path, name=path)(type(name, (View,), handlers))
