"""The folder of an embedded broker: the names in it, and what its keeper and its users tell each other there.

`broker.lock` is held by the keeper, `users.lock` by every user (shared), `broker.json` says how far the keeper is.
Knows neither how a broker is run nor what it is used for.
"""

import contextlib
import json
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from yasdg_app.kafka.embedded.errors import BrokerError, CannotLookError, reason
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.process.descriptors import has_none_left

HOST = "127.0.0.1"
"""The only address that an embedded broker listens on."""
LEAST_SPACE = 64 * 1024 * 1024
"""Bytes that have to be free on the disk; with fewer, Kafka would stop in the middle of its work."""


State = Literal["starting", "ready", "stopping", "failed"]


@dataclass(frozen=True)
class Status:
    """What a keeper says of itself. True only while somebody holds `broker.lock`: a killed keeper's stays."""

    state: State
    pid: int
    """The keeper."""
    port: int
    java_pid: int | None = None
    error: str | None = None
    """Why it failed, as one line."""
    killed: bool = False
    """Whether it failed because somebody killed Kafka."""
    stays: bool = False
    """Whether it goes on without users, until it is told to stop."""

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"


class BrokerFolder:
    """The paths in a broker's folder, which is absolute from here on."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "kafka"
        self.log = self.path / "broker.log"
        self.output = self.path / "broker.out"
        """What the keeper and Java print: nothing, unless they cannot even begin to log."""
        self.properties = self.path / "server.properties"
        self.keeper_lock = self.path / "broker.lock"
        self.users_lock = self.path / "users.lock"
        self._status = self.path / "broker.json"

    def prepare(self) -> None:
        """Make the folder. Raises BrokerError if it cannot be written to, or if its disk is full; CannotLookError."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.users_lock, self.keeper_lock, self.log, self.output):
                file.open("ab").close()
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            if has_none_left(error):
                raise CannotLookError(self.path, error) from error
            raise self._cannot_write(reason(error)) from error
        if free < LEAST_SPACE:
            raise self._cannot_write(f"its disk is full ({free // 2**20} of at least {LEAST_SPACE // 2**20} MB free)")

    def is_kept(self) -> bool:
        """Whether a keeper lives. Raises CannotLookError."""
        probe = FileLock(self.keeper_lock)
        try:
            return not probe.try_acquire(shared=True)
        except (FileNotFoundError, NotADirectoryError):
            return False  # nobody keeps a folder that is not there
        except OSError as error:
            raise CannotLookError(self.keeper_lock, error) from error
        finally:
            probe.release()

    def read_status(self) -> Status | None:
        """What the present or the last keeper said; None if nothing, or nothing of sense. Raises CannotLookError."""
        try:
            content = json.loads(self._status.read_text("utf-8"))
            content.pop("bootstrap_servers", None)
            return Status(**content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise CannotLookError(self._status, error) from error
        except (ValueError, TypeError, AttributeError):
            return None

    def write_status(self, status: Status) -> None:
        """Say it, in one step: nobody reads half of it. OSError if the disk is full."""
        content = {**asdict(status), "bootstrap_servers": status.bootstrap_servers}
        self.write(self._status, json.dumps(content) + "\n")

    def clear_status(self) -> None:
        """Forget what was said: there is no broker, and nothing went wrong."""
        with contextlib.suppress(OSError):
            self._status.unlink()

    @staticmethod
    def write(path: Path, content: str) -> None:
        """Replace a file in one step."""
        new = path.with_name(path.name + ".new")
        new.write_text(content, "utf-8")
        new.replace(path)

    def _cannot_write(self, why: str) -> BrokerError:
        return BrokerError(
            f"Cannot keep the embedded broker's data in {self.path}: {why}. "
            "Make room or give access there, or set [KAFKA] data_dir to another folder."
        )


def answers(port: int) -> bool:
    """Whether something accepts connections on a port of this machine. Raises CannotLookError."""
    with probe_socket(port) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def probe_socket(port: int) -> socket.socket:
    """A socket with which to look at a port. Raises CannotLookError if there is none to be had."""
    try:
        return socket.socket()
    except OSError as error:
        raise CannotLookError(f"port {port}", error) from error
