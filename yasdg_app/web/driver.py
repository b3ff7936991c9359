"""The web server that Faust uses: with access control, limits, and JSON responses in every case.

Faust finds it under the name `yasdg` (see faust_runtime/shop_app.py). Must not know any page.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar

from aiohttp import web
from faust.web.drivers import aiohttp as driver

from yasdg_app.errors import RENAMED
from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.process.ports import addresses_of
from yasdg_app.text import printable
from yasdg_app.web.access import TOKEN_COOKIE, check_access, is_token
from yasdg_app.web.connections import BODY_SECONDS, INTERNAL_ERROR
from yasdg_app.web.log_limits import LogLimiter, suppressed_note
from yasdg_app.web.responses import MAX_BODY_BYTES, add_common_headers, error_response, json_response
from yasdg_app.web.runner import ACCEPT_BACKLOG, Runner
from yasdg_app.web.token_proof import PROOF_HEADER, SCHEME, PeerRequest, address_of, response_proof, verify_request

logger = logging.getLogger(__name__)

PARTIAL_RESULTS_PATH = "/share/"
"""Where workers query each other."""
_NAME = re.compile(r"\{(\w+)\}")
SHUTDOWN_SECONDS = 1.0  # for responses in progress to finish when the worker stops

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Web(driver.Web):
    """The web server. It does not serve Faust's own pages: ours show the table and the partitions of each worker."""

    default_blueprints: ClassVar[Any] = []
    production_blueprints: ClassVar[Any] = []
    debug_blueprints: ClassVar[Any] = []

    app: ShopApp

    def __init__(self, app: ShopApp, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self.web_app = web.Application(middlewares=[self._middleware], client_max_size=MAX_BODY_BYTES)
        self._runner = Runner(self.web_app, SHUTDOWN_SECONDS)
        self._failures = LogLimiter(time.monotonic)

    def _new_transport_tcp(self) -> web.BaseSite:
        bind, port, context = self.app.conf.web_bind, self.app.conf.web_port, self.app.conf.web_ssl_context
        hosts: Any = addresses_of(bind, port)  # asyncio would fail at an address that this machine does not have
        return web.TCPSite(self._runner, hosts, port, ssl_context=context, backlog=ACCEPT_BACKLOG)

    def route(self, pattern: str, handler: Any, cors_options: Any = None) -> None:
        """Add a page. HEAD is served only where GET is, which Faust does not check."""
        pattern = _NAME.sub(r"{\1:[^/]+}", pattern)  # aiohttp's own pattern of a name excludes braces
        methods = handler.get_methods()
        for method in methods if "GET" in methods else methods - {"HEAD"}:
            self.web_app.router.add_route(method, pattern, self._wrap_into_asyncdef(handler))

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await self._respond(request, handler)
        add_common_headers(response)
        return response

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self.app.shop.settings.web.token
        if token and request.path == "/" and request.method in ("GET", "HEAD") and "token" in request.query:
            return _token_to_cookie(token, request)
        peer_request = self._peer_request(token, request)
        is_worker = peer_request is not None
        denied = check_access(token, request.method, request.path, request.headers, request.cookies, is_worker)
        if denied:
            headers = {"WWW-Authenticate": "Bearer"} if denied.status == HTTPStatus.UNAUTHORIZED else {}
            return json_response({"error": denied.error}, denied.status, headers)
        response = await self._call(handler, request)
        if peer_request is not None and isinstance(response, web.Response) and isinstance(response.body, bytes):
            proof = response_proof(token, peer_request, response.status, response.body)
            response.headers[PROOF_HEADER] = proof
        return response

    def _peer_request(self, token: str, request: web.Request) -> PeerRequest | None:
        """Return the request of another worker, if it proves to be one."""
        header = request.headers.get("Authorization", "")
        if not token or request.path != PARTIAL_RESULTS_PATH or not header.startswith(SCHEME):
            return None
        address = address_of(self.app.conf.canonical_url)
        return verify_request(token, header, request.method, request.raw_path, address, time.time())

    async def _call(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        try:
            return await _read_body(request) or await handler(request)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            return error_response(error)
        except Exception:
            if (suppressed := self._failures.request()) is not None:
                logger.exception(
                    "%s %s failed with an internal error.%s",
                    request.method,
                    printable(request.path),
                    suppressed_note(suppressed),
                )
            return json_response({"error": INTERNAL_ERROR}, 500)


async def _read_body(request: web.Request) -> web.Response | None:
    """Read the body of a request, so that its page has it; return the response to one that cannot be read."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        return json_response(
            {"error": "Send the body without a Content-Encoding."}, 415, {"Accept-Encoding": "identity"}
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.read()
    except TimeoutError:
        late = json_response({"error": f"The body was not received within {BODY_SECONDS:.0f} s."}, 408)
        late.force_close()
        return late
    except (web.HTTPException, ConnectionError, *RENAMED):
        raise
    except Exception:  # an invalid chunk or length
        return json_response({"error": "Cannot read the body: invalid HTTP/1.1 chunk or length."}, 400)
    return None


def _token_to_cookie(token: str, request: web.Request) -> web.StreamResponse:
    """Set a cookie for a browser that sent the token in the URL, and redirect to the URL without it."""
    if not is_token(token, request.query["token"]):
        return json_response({"error": "Invalid token."}, HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
    response.set_cookie(TOKEN_COOKIE, token, httponly=True, samesite="Strict")
    return response
