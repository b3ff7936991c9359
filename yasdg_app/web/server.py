"""Faust's web server as the shop has it: bounded, for those who may ask, with answers in JSON whatever happens.

Faust finds it under the name `yasdg` (see application.py). Must not know what the pages show.
"""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar

import orjson
from aiohttp import web
from aiohttp.typedefs import LooseHeaders
from faust.web.drivers import aiohttp as driver

from yasdg_app.settings import shown
from yasdg_app.web.access import COOKIE, is_token, refusal

logger = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024  # bytes; an incident has some hundred
LONGEST_STOP = 1.0  # seconds in which answers that are under way have to end when the worker does
HEADERS = {
    "Server": "yasdg",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # an address may have the token in it
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""Of every answer."""
NEVER_KEPT = {"Cache-Control": "no-store"}
WHERE = "GET /openapi.json tells of all there is."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(body: Any, status: int = 200, headers: LooseHeaders | None = None) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", charset="utf-8", headers=headers
    )


class Web(driver.Web):
    """The server. Faust's own pages are not on it: ours show the table, and who has which part of it."""

    default_blueprints: ClassVar[Any] = []
    production_blueprints: ClassVar[Any] = []
    debug_blueprints: ClassVar[Any] = []

    app: Any

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.web_app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_BODY)
        self._runner = web.AppRunner(
            self.web_app, access_log=None, shutdown_timeout=LONGEST_STOP, handler_cancellation=True
        )

    def route(self, pattern: str, handler: Any, cors_options: Any = None) -> None:
        """Serve a page; by HEAD only if there is something to GET, which Faust does not look at."""
        methods = handler.get_methods()
        for method in methods if "GET" in methods else methods - {"HEAD"}:
            self.web_app.router.add_route(method, pattern, self._wrap_into_asyncdef(handler))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answered(request, handler)
        if not response.prepared:
            for name, value in (HEADERS | NEVER_KEPT).items():
                response.headers.setdefault(name, value)
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self.app.shop.web.token
        if token and request.path == "/" and request.method in ("GET", "HEAD") and "token" in request.query:
            return _welcome(token, request)
        why_not = refusal(token, request.method, request.path, request.headers, request.cookies)
        if why_not:
            headers = {"WWW-Authenticate": "Bearer"} if why_not.status == HTTPStatus.UNAUTHORIZED else {}
            return answer({"error": why_not.error}, why_not.status, headers)
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            headers = {name: value for name, value in error.headers.items() if name == "Allow"}
            return answer({"error": _words(error)}, error.status, headers)
        except Exception:
            logger.exception("%s %s could not be answered.", request.method, shown(request.path))
            return answer({"error": "Something went wrong here; the worker's log tells what."}, 500)


def _welcome(token: str, request: web.Request) -> web.StreamResponse:
    """Give a browser that came with the token in the address a cookie instead, and an address without it."""
    if not is_token(token, request.query["token"]):
        return answer({"error": "This is not the token."}, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
    return response


def _words(error: web.HTTPException) -> str:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return f"There is no such page. {WHERE}"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"This cannot be done here. {WHERE}"
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return f"The body is too large: expected {LARGEST_BODY} bytes at most."
        case _:
            return error.reason
