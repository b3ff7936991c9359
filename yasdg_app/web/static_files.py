"""Static files: the page at `/`, its files at `/page/`, and the API description at `/openapi.json`.

All files are read once, at the start, so no request reaches the file system.
"""

import hashlib
import mimetypes
from importlib.resources import files

from aiohttp import web

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


NO_FILE = {"error": f"File not found. {SEE_OPENAPI}"}


class StaticFiles:
    """The page, its files, and the API description."""

    def __init__(self) -> None:
        self._files = _read_page_files()
        self._openapi = StaticFile("openapi.json", files("yasdg_app.web").joinpath("openapi.json").read_bytes())

    async def index(self, request: web.Request) -> web.Response:
        """Serve the page."""
        return await self.file(request, "index.html")

    async def file(self, request: web.Request, file: str) -> web.Response:
        """Serve a file of the page."""
        return self._files[file].response_to(request) if file in self._files else json_response(NO_FILE, 404)

    async def openapi(self, request: web.Request) -> web.Response:
        """Serve the API description."""
        return self._openapi.response_to(request)
