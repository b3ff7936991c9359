"""What the web server promises whatever the page: JSON, methods, bounds, headers, and a log that nobody else writes."""

import logging
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import faust
import pytest
from aiohttp.test_utils import TestClient, TestServer
from support import product_ids
from yarl import URL

from yasdg_app.config.settings import Settings, WebSettings
from yasdg_app.web.access import TOKEN_COOKIE
from yasdg_app.web.driver import Web
from yasdg_app.web.responses import COMMON_HEADERS, MAX_BODY_BYTES, json_response

TOKEN = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}
Client = TestClient[Any, Any]
TCP = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
"""An address of no machine, as the system tells it."""


class Page:
    """What Faust makes of a page: a handler and its methods."""

    def __init__(self, *methods: str) -> None:
        self.methods = methods

    def get_methods(self) -> set[str]:
        return {"HEAD", *self.methods}

    async def __call__(self, request: Any) -> Any:
        if "fail" in request.query:
            raise RuntimeError("on purpose")
        return json_response({"length": len(await request.read())})


class NamePage(Page):
    """Returns the name in its path."""

    def __init__(self) -> None:
        super().__init__("GET")

    async def __call__(self, request: Any, **names: str) -> Any:
        return json_response(names or dict(request.match_info))


def server(token: str = "") -> Web:
    app: Any = faust.App("test-web", broker="memory://", store="memory://", autodiscover=False)
    app.shop = SimpleNamespace(settings=Settings(web=WebSettings(token=token)))
    web = Web(app)
    for path, methods in (("/", ["GET"]), ("/list/", ["GET", "POST"]), ("/list/{name}/", ["DELETE"])):
        web.route(path, Page(*methods))
    return web


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with TestClient(TestServer(server().web_app)) as open_to_all:
        yield open_to_all


@pytest.fixture
async def guarded() -> AsyncIterator[Client]:
    async with TestClient(TestServer(server(TOKEN).web_app)) as with_a_token:
        yield with_a_token


async def body(response: Any) -> Any:
    assert response.content_type == "application/json"
    for name, value in COMMON_HEADERS.items():
        assert response.headers[name] == value, name
    assert response.headers["Cache-Control"] == "no-store"
    return await response.json()


@pytest.mark.parametrize("path", ["/nothing", "/list", "/list/a/b/", "/%0a%1b[31m", "/list/%2e%2e%2fsecret"])
async def test_what_is_not_there_is_404_in_json(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status == 404
    assert "/openapi.json" in (await body(response))["error"]


@pytest.mark.parametrize("name", product_ids.ODD)
async def test_a_name_in_a_path_may_be_any_text_that_is_percent_encoded(name: str) -> None:
    web = server()
    web.route("/names/{name}/", NamePage())
    async with TestClient(TestServer(web.web_app)) as client:
        response = await client.get(URL(f"/names/{quote(name, safe='')}/", encoded=True))
        assert (response.status, await body(response)) == (200, {"name": name})


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/", "POST", "GET,HEAD"),
        ("/", "OPTIONS", "GET,HEAD"),
        ("/list/", "DELETE", "GET,HEAD,POST"),
        ("/list/a/", "GET", "DELETE"),
        ("/list/a/", "PATCH", "DELETE"),
    ],
)
async def test_a_wrong_method_is_405_and_those_that_are_right_are_named(
    client: Client, path: str, method: str, allowed: str
) -> None:
    response = await client.request(method, path, headers=JSON)
    assert (response.status, response.headers["Allow"]) == (405, allowed)
    assert await body(response)


async def test_head_is_get_without_a_body(client: Client) -> None:
    get, head = await client.get("/"), await client.head("/")
    assert (get.status, head.status) == (200, 200)
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert await head.read() == b""
    response = await client.head("/list/a/")
    assert (response.status, response.headers["Allow"]) == (405, "DELETE")


async def test_bodies_are_bounded(client: Client) -> None:
    assert await body(await client.post("/list/", data=b"x" * MAX_BODY_BYTES, headers=JSON)) == {
        "length": MAX_BODY_BYTES
    }
    response = await client.post("/list/", data=b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
    assert response.status == 413
    assert str(MAX_BODY_BYTES) in (await body(response))["error"]


async def test_an_error_of_ours_is_told_in_the_log_alone_and_in_one_line_of_the_request(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/list/%0aERROR/?fail", headers=JSON)
    assert response.status == 405
    caplog.clear()
    response = await client.get("/?fail=%0aERROR+forged")
    assert response.status == 500
    assert "on purpose" not in str(await body(response))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "GET / failed with an internal error."


async def test_a_browser_brings_the_token_once_and_is_known_by_a_cookie(guarded: Client) -> None:
    response = await guarded.get("/", allow_redirects=False)
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert TOKEN not in str(await body(response))
    response = await guarded.get("/", params={"token": "wrong"}, allow_redirects=False)
    assert response.status == 401
    assert not response.cookies
    response = await guarded.get("/", params={"token": TOKEN}, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/")
    cookie = response.cookies[TOKEN_COOKIE]
    assert (cookie.value, cookie["httponly"], cookie["samesite"], cookie["path"]) == (TOKEN, True, "Strict", "/")
    assert (await guarded.get("/list/")).status == 200  # with the cookie that it keeps
    guarded.session.cookie_jar.clear()
    assert (await guarded.get("/list/", params={"token": TOKEN})).status == 401


async def test_a_page_of_somebody_else_is_refused_in_json(client: Client) -> None:
    for headers, status in (({"Origin": "https://evil.example"}, 403), ({"Content-Type": "text/plain"}, 415)):
        response = await client.post("/list/", data=b"{}", headers=JSON | headers)
        assert response.status == status
        assert await body(response)
    assert (await client.get("/", headers={"Host": "evil.example"})).status == 403


async def test_it_listens_on_those_addresses_of_a_name_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as localhost where IPv6 is off."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [TCP, (*TCP[:4], ("127.0.0.1", port))])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    its = server()
    its.app.conf.web_bind, its.app.conf.web_port = "localhost", port
    await its._runner.setup()
    site = its._new_transport_tcp()
    monkeypatch.undo()
    await site.start()
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as response:
        assert response.status == 200
    await its._runner.cleanup()


@pytest.mark.parametrize(("error", "status"), [(ValueError, 400), (AttributeError, 500), (TypeError, 500)])
async def test_a_body_that_cannot_be_read_is_the_clients_fault_unless_a_name_is_gone(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: type[Exception], status: int
) -> None:
    async def read(_: Any) -> bytes:
        raise error("on purpose")

    monkeypatch.setattr(aiohttp.web.Request, "read", read)
    response = await client.post("/list/", data=b"x", headers=JSON)
    assert response.status == status
