"""Faust's web server as the shop has it: bounded, for those who may ask, with answers in JSON whatever happens.

Faust finds it under the name `yasdg` (see application.py). Must not know what the pages show.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar

from aiohttp import web
from faust.web.drivers import aiohttp as driver

from yasdg_app.config.settings import shown
from yasdg_app.process.ports import addresses_of
from yasdg_app.web.access import COOKIE, is_token, refusal
from yasdg_app.web.connections import ACCEPTED_AT_ONCE, BODY_SECONDS, WRONG, Runner
from yasdg_app.web.log_limits import Seldom, since
from yasdg_app.web.responses import MAX_BODY_BYTES, answer, complete, refused
from yasdg_app.web.token_proof import ANSWER_HEADER, SCHEME, Question, address_of, of_answer, proven

logger = logging.getLogger(__name__)

SHARE = "/share/"  # where workers ask each other
LONGEST_STOP = 1.0  # seconds in which answers that are under way have to end when the worker does

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Web(driver.Web):
    """The server. Faust's own pages are not on it: ours show the table, and who has which part of it."""

    default_blueprints: ClassVar[Any] = []
    production_blueprints: ClassVar[Any] = []
    debug_blueprints: ClassVar[Any] = []

    app: Any

    def __init__(self, app: Any, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.web_app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        self._runner = Runner(self.web_app, LONGEST_STOP)
        self._failures = Seldom(time.monotonic)

    def _new_transport_tcp(self) -> web.BaseSite:
        bind, port, context = self.app.conf.web_bind, self.app.conf.web_port, self.app.conf.web_ssl_context
        hosts: Any = addresses_of(bind, port)  # asyncio would fail at one that this machine has not
        return web.TCPSite(self._runner, hosts, port, ssl_context=context, backlog=ACCEPTED_AT_ONCE)

    def route(self, pattern: str, handler: Any, cors_options: Any = None) -> None:
        """Serve a page; by HEAD only if there is something to GET, which Faust does not look at."""
        methods = handler.get_methods()
        for method in methods if "GET" in methods else methods - {"HEAD"}:
            self.web_app.router.add_route(method, pattern, self._wrap_into_asyncdef(handler))

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._answered(request, handler)
        complete(response)
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self.app.shop.web.token
        if token and request.path == "/" and request.method in ("GET", "HEAD") and "token" in request.query:
            return _welcome(token, request)
        question = self._question(token, request)
        known = question is not None
        why_not = refusal(token, request.method, request.path, request.headers, request.cookies, known)
        if why_not:
            headers = {"WWW-Authenticate": "Bearer"} if why_not.status == HTTPStatus.UNAUTHORIZED else {}
            return answer({"error": why_not.error}, why_not.status, headers)
        response = await self._handled(request, handler)
        if question is not None and isinstance(response, web.Response) and isinstance(response.body, bytes):
            proof = of_answer(token, question, response.status, response.body)
            response.headers[ANSWER_HEADER] = proof
        return response

    def _question(self, token: str, request: web.Request) -> Question | None:
        """Return what another worker asks, if it proves to be one."""
        header = request.headers.get("Authorization", "")
        if not token or request.path != SHARE or not header.startswith(SCHEME):
            return None
        here = address_of(self.app.conf.canonical_url)
        return proven(token, header, request.method, request.raw_path, here, time.time())

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await _unread(request) or await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            return refused(error)
        except Exception:
            if (left_out := self._failures.due()) is not None:
                logger.exception("%s %s could not be answered.%s", request.method, shown(request.path), since(left_out))
            return answer({"error": WRONG}, 500)


async def _unread(request: web.Request) -> web.Response | None:
    """Read the body of a request, so that its page has it; return what is said of one that cannot be read."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return answer(
            {"error": "Send the body as it is, without a Content-Encoding."}, 415, {"Accept-Encoding": "identity"}
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.read()
    except TimeoutError:
        late = answer({"error": f"The body did not come within {BODY_SECONDS:.0f} s."}, 408)
        late.force_close()
        return late
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:  # a chunk or a length that is none
        return answer({"error": "The body cannot be read: it is not sent as HTTP/1.1 has it."}, 400)
    return None


def _welcome(token: str, request: web.Request) -> web.StreamResponse:
    """Give a browser that came with the token in the address a cookie instead, and an address without it."""
    if not is_token(token, request.query["token"]):
        return answer({"error": "This is not the token."}, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
    return response
