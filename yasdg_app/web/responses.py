"""Answers of the web server: JSON, with the headers that every answer has. Must not know what is asked."""

from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web
from aiohttp.typedefs import LooseHeaders

HEADERS = {
    "Server": "yasdg",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # an address may have the token in it
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""Of every answer."""
NEVER_KEPT = {"Cache-Control": "no-store"}
WHERE = "GET /openapi.json tells of all there is."
MAX_BODY_BYTES = 64 * 1024  # of a request; an incident has some hundred


def answer(body: Any, status: int = 200, headers: LooseHeaders | None = None) -> web.Response:
    """Return an answer in JSON. Texts may hold anything: halves of characters are replaced."""
    return web.Response(
        body=encoded(body), status=status, content_type="application/json", charset="utf-8", headers=headers
    )


def encoded(body: Any) -> bytes:
    """Return a body as JSON."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return orjson.dumps(_whole(body))


def _whole(body: Any) -> Any:
    """Return the same with whole characters in its texts: a request may have halves (surrogates), JSON may not."""
    match body:
        case str():
            return body.encode(errors="replace").decode()
        case dict():
            return {_whole(key): _whole(value) for key, value in body.items()}
        case list() | tuple():
            return [_whole(each) for each in body]
        case _:
            return body


def complete(response: web.StreamResponse) -> None:
    """Give an answer the headers that all have, unless it is on its way already."""
    if not response.prepared:
        for name, value in (HEADERS | NEVER_KEPT).items():
            response.headers.setdefault(name, value)


def refused(error: web.HTTPException) -> web.Response:
    """Return what the framework refuses, in JSON."""
    headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    return answer({"error": _words(error)}, error.status, headers)


def _words(error: web.HTTPException) -> str:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return f"There is no such page. {WHERE}"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"This cannot be done here. {WHERE}"
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return f"The body is too large: expected {MAX_BODY_BYTES} bytes at most."
        case HTTPStatus.EXPECTATION_FAILED:
            return "The header Expect is not understood: expected 100-continue, or none."
        case _:
            return error.reason


def raw(status: HTTPStatus, error: str, **headers: str) -> bytes:
    """Return an answer as it is sent, for a connection that is closed afterwards."""
    body = encoded({"error": error})
    lines = {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **HEADERS,
        **NEVER_KEPT,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    return f"{head}\r\n".encode() + body
