"""JSON responses of the web server, and the headers of every response. Must not know any page."""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import LooseHeaders

COMMON_HEADERS = {
    "Server": "yasdg",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a URL can contain the token
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""Of every response."""
NO_STORE = {"Cache-Control": "no-store"}
NOT_OPEN = {"error": "The shop is not open yet. Try again in a moment."}
SEE_OPENAPI = "See GET /openapi.json for all endpoints."
MAX_BODY_BYTES = 64 * 1024  # of a request; an incident has some hundred


def json_response(body: Any, status: int = 200, headers: LooseHeaders | None = None) -> web.Response:
    """Return a JSON response. Lone surrogates in its strings are replaced."""
    return web.Response(
        body=encode_json(body), status=status, content_type="application/json", charset="utf-8", headers=headers
    )


def encode_json(body: Any) -> bytes:
    """Return a body as JSON."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return orjson.dumps(_without_surrogates(body))


def _without_surrogates(body: Any) -> Any:
    """Replace lone surrogates in all strings: a request can contain them, but JSON cannot."""
    match body:
        case str():
            return body.encode(errors="replace").decode()
        case dict():
            return {_without_surrogates(key): _without_surrogates(value) for key, value in body.items()}
        case list() | tuple():
            return [_without_surrogates(each) for each in body]
        case _:
            return body


def add_common_headers(response: web.StreamResponse) -> None:
    """Add the headers that every response has, unless its headers have been sent already."""
    if not response.prepared:
        for name, value in (COMMON_HEADERS | NO_STORE).items():
            response.headers.setdefault(name, value)


def error_response(error: web.HTTPException) -> web.Response:
    """Return an error that aiohttp raised, as JSON."""
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    return json_response({"error": _message_of(error)}, error.status, headers)


def _message_of(error: web.HTTPException) -> str:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return f"Not found. {SEE_OPENAPI}"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"Method not allowed. {SEE_OPENAPI}"
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return f"The body is too large: expected at most {MAX_BODY_BYTES} bytes."
        case HTTPStatus.EXPECTATION_FAILED:
            return "Unknown Expect header: expected 100-continue, or no such header."
        case _:
            return error.reason


def raw_response(status: HTTPStatus, error: str, **headers: str) -> bytes:
    """Return a complete HTTP response as bytes, for a connection that is closed afterwards."""
    body = encode_json({"error": error})
    lines = {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **COMMON_HEADERS,
        **NO_STORE,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    return f"{head}\r\n".encode() + body
