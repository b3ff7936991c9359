"""Static files: the page at `/`, its files at `/page/`, and the API description at `/openapi.json`.

All files are read once, on import, so no request reaches the file system.
"""

import hashlib
import mimetypes
from importlib.resources import files
from typing import Any

from aiohttp import web

from yasdg_app.application import app
from yasdg_app.web.responses import SEE_OPENAPI, json_response

CACHE_CONTROL = "no-cache"  # a browser may keep a file, but checks whether it has changed
CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


class StaticFile:
    """A file that is served.

    Attributes
    ----------
    etag
        Hash of its content.
    """

    def __init__(self, name: str, content: bytes) -> None:
        suffix = f".{name.rpartition('.')[2]}"
        self.content = content
        self.content_type = CONTENT_TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def response_to(self, request: web.Request) -> web.Response:
        """Return the file, or 304 if the browser has it already."""
        headers = {"ETag": self.etag, "Cache-Control": CACHE_CONTROL}
        if request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304, headers=headers)
        charset = None if self.content_type.startswith(("image/", "font/")) else "utf-8"
        return web.Response(body=self.content, content_type=self.content_type, charset=charset, headers=headers)


def _read_page_files() -> dict[str, StaticFile]:
    folder = files("yasdg_app.web").joinpath("page")
    if not folder.is_dir():
        return {}
    return {each.name: StaticFile(each.name, each.read_bytes()) for each in folder.iterdir() if each.is_file()}


page_files = _read_page_files()
openapi_file = StaticFile("openapi.json", files("yasdg_app.web").joinpath("openapi.json").read_bytes())
NO_FILE = {"error": f"File not found. {SEE_OPENAPI}"}


@app.page("/")
async def index(web: Any, request: Any) -> Any:
    """Serve the page."""
    return page_files["index.html"].response_to(request) if "index.html" in page_files else json_response(NO_FILE, 404)


@app.page("/page/{file}")
async def file(web: Any, request: Any, file: str) -> Any:
    """Serve a file of the page."""
    return page_files[file].response_to(request) if file in page_files else json_response(NO_FILE, 404)


@app.page("/openapi.json")
async def openapi(web: Any, request: Any) -> Any:
    """Serve the API description."""
    return openapi_file.response_to(request)
