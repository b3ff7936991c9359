"""Clients that hold connections to a server without completing a request: idle, half-open and slow ones."""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from itertools import count
from types import TracebackType

from yasdg_app.process.descriptors import raise_descriptor_limit

HEAD = b"GET /health/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
BODY = (
    b"POST /incidents/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
)
WHOLE = b"GET /health/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
LARGE = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
KINDS: tuple[tuple[bytes, bool], ...] = (
    (b"", False),  # idle from the start
    (WHOLE, False),  # idle after a response
    (HEAD, False),  # half a request
    (HEAD, True),  # a header sent byte by byte
    (BODY, True),  # a body sent byte by byte
    (LARGE * 32, False),  # responses that are not read
)
"""What each client sends first, and whether it then sends a byte every second."""


class Crowd:
    """Holds so many connections for as long as it exists: one that the server closes is opened again."""

    def __init__(self, address: tuple[str, int], size: int) -> None:
        raise_descriptor_limit()
        self.opened = 0
        self._address = address
        self._size = size
        self._kinds = count()
        self._sockets: dict[socket.socket, bool] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Crowd":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            self._selector = selector
            while not self._over.is_set():
                began = time.monotonic()
                self._each(self._drip)
                while len(self._sockets) < self._size and time.monotonic() < began + 0.5 and self._open():
                    pass
                while time.monotonic() < began + 1.0 and not self._over.is_set():
                    for key, _ in selector.select(0.1):
                        self._listen(key.fileobj)  # type: ignore[arg-type]
            for connection in self._sockets:
                connection.close()

    def _each(self, act: Callable[[socket.socket], None]) -> None:
        for connection in list(self._sockets):
            act(connection)

    def _open(self) -> bool:
        first, is_slow = KINDS[next(self._kinds) % len(KINDS)]
        connection = socket.socket()
        try:
            if first.startswith(LARGE):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(0.5)
            connection.connect(self._address)
            connection.sendall(first)
        except OSError:
            connection.close()
            return False
        connection.setblocking(False)
        self.opened += 1
        self._sockets[connection] = is_slow
        if not first.startswith(LARGE):
            self._selector.register(connection, selectors.EVENT_READ)
        return True

    def _listen(self, connection: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                if connection.recv(65536):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            self._leave(connection)

    def _drip(self, connection: socket.socket) -> None:
        if self._sockets.get(connection):
            try:
                connection.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                self._leave(connection)

    def _leave(self, connection: socket.socket) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        self._sockets.pop(connection, None)
        connection.close()

    @property
    def held(self) -> int:
        """Return how many connections it holds."""
        return len(self._sockets)
