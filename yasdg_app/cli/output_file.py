"""The file, pipe or device to which a command writes."""

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path

from yasdg_app.truth.stream_end import GenerateError

STDOUT = ("-", "stdout")


class OutputFile:
    """The destination of the lines: a file, which gets its name when it is complete, or an existing pipe or device.

    Attributes
    ----------
    name
        For people.
    partial
        The file of this run until it is complete; None if there is no such file.
    """

    def __init__(self, to: str, force: bool) -> None:
        self.name = "Standard output" if to in STDOUT else to
        self.partial: Path | None = None
        self._path: Path | None = None
        try:
            self._fd = self._open(to, force)
        except OSError as error:
            raise GenerateError(f"{self.name} cannot be written: {error.strerror}") from None
        self.is_terminal = os.isatty(self._fd)

    def _open(self, to: str, force: bool) -> int:
        if to in STDOUT:
            if sys.stdout is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return sys.stdout.fileno()
        path = Path(os.path.realpath(to))  # a link remains a link
        if path.exists():
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise GenerateError(f"{to} is a folder: expected the name of a file, such as {to}/purchases.jsonl")
            if not stat.S_ISREG(mode):
                return os.open(path, os.O_WRONLY | os.O_NOCTTY)
            if not force:
                raise GenerateError(f"{to} exists. To overwrite it: --force")
        self._path, self.partial = path, path.with_name(f"{path.name}.part")
        return self._open_partial(self.partial)

    @staticmethod
    def _open_partial(path: Path) -> int:
        """Open the file for this process alone; the remains of an earlier run are overwritten."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(fd), os.stat(path)):
                raise BlockingIOError  # the process that wrote it has just completed it
            os.ftruncate(fd, 0)
        except (BlockingIOError, FileNotFoundError):
            os.close(fd)
            raise GenerateError(f"{path} is being written by another yasdg generate") from None
        except OSError:
            os.close(fd)
            raise
        return fd

    def write(self, text: bytes | bytearray) -> None:
        """Write all of it. Raises OSError."""
        view = memoryview(text)
        while view:
            view = view[os.write(self._fd, view) :]

    def complete(self) -> None:
        """Give the file its name. Raises OSError."""
        if self.partial is not None and self._path is not None:
            os.replace(self.partial, self._path)
        self.leave()

    def leave(self) -> None:
        """Keep what was written. Raises OSError."""
        if self.name != "Standard output":
            os.close(self._fd)

    def discard(self) -> None:
        """Remove the file that could not be completed."""
        if self.partial is not None:
            self.partial.unlink(missing_ok=True)
