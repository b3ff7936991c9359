"""What a worker accepts from other workers."""

from aiohttp import web
from aiohttp.test_utils import TestServer

from yasdg_app.web.peer_client import PeerClient


async def test_nobody_who_answers_can_set_a_cookie_for_other_questions() -> None:
    sent: list[str | None] = []

    async def page(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "its=own; Path=/"})

    app = web.Application()
    app.router.add_get("/", page)
    client = PeerClient("")
    # Where hosts are names: of addresses aiohttp takes no cookies by itself.
    async with TestServer(app, host="localhost") as server:
        for _ in range(2):
            async with client._open_session().get(f"http://localhost:{server.port}/") as response:
                await response.read()
    await client.close()
    assert sent == [None, None]
