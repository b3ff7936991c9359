"""The page at `/`, the files that it is made of at `/page/`, and the description of all that the server has.

The files are read once: nothing that is asked for reaches the file system.
"""

import hashlib
import mimetypes
from importlib.resources import files
from typing import Any

from aiohttp import web

from yasdg_app.application import app
from yasdg_app.web.responses import WHERE, answer

KEPT = "no-cache"  # a browser may keep it, and asks whether it is still the same
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


class File:
    """A file that is served.

    Attributes
    ----------
    tag
        Stands for its content.
    """

    def __init__(self, name: str, content: bytes) -> None:
        suffix = f".{name.rpartition('.')[2]}"
        self.content = content
        self.content_type = TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, request: web.Request) -> web.Response:
        """Return the file, or that what the browser has of it is right."""
        headers = {"ETag": self.tag, "Cache-Control": KEPT}
        if request.headers.get("If-None-Match") == self.tag:
            return web.Response(status=304, headers=headers)
        charset = None if self.content_type.startswith(("image/", "font/")) else "utf-8"
        return web.Response(body=self.content, content_type=self.content_type, charset=charset, headers=headers)


def _read() -> dict[str, File]:
    folder = files("yasdg_app.web").joinpath("page")
    if not folder.is_dir():
        return {}
    return {each.name: File(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


page = _read()
description = File("openapi.json", files("yasdg_app.web").joinpath("openapi.json").read_bytes())
NO_FILE = {"error": f"There is no such file. {WHERE}"}


@app.page("/")
async def index(web: Any, request: Any) -> Any:
    """Show the page."""
    return page["index.html"].answer(request) if "index.html" in page else answer(NO_FILE, 404)


@app.page("/page/{file}")
async def file(web: Any, request: Any, file: str) -> Any:
    """Show one of its files."""
    return page[file].answer(request) if file in page else answer(NO_FILE, 404)


@app.page("/openapi.json")
async def openapi(web: Any, request: Any) -> Any:
    """Describe all that there is."""
    return description.answer(request)
