"""The folder of an embedded broker: its files, through which the supervisor and the users communicate.

The supervisor holds `broker.lock`, every user holds `users.lock` (shared), and `broker.json` has the supervisor's
status. Knows neither how a broker is run nor what it is used for.
"""

import contextlib
import json
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from yasdg_app.kafka.embedded.errors import BrokerError, BrokerStateUnknownError, reason
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.process.descriptors import has_none_left

HOST = "127.0.0.1"
"""The only address that an embedded broker listens on."""
MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free disk space that is required to start: without it, Kafka would soon stop with an error."""


State = Literal["starting", "ready", "stopping", "failed"]


@dataclass(frozen=True)
class Status:
    """A supervisor's status. Valid only while `broker.lock` is held: that of a killed supervisor remains."""

    state: State
    pid: int
    """Of the supervisor."""
    port: int
    java_pid: int | None = None
    error: str | None = None
    """Why it failed, as one line."""
    killed: bool = False
    """Whether it failed because Kafka was killed."""
    stays: bool = False
    """Whether it keeps running without users, until it is stopped."""

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"


class BrokerFolder:
    """The files in a broker's folder, with absolute paths."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.data = self.path / "kafka"
        self.log = self.path / "broker.log"
        self.output = self.path / "broker.out"
        """What the supervisor and Java print: nothing, unless logging fails."""
        self.properties = self.path / "server.properties"
        self.supervisor_lock = self.path / "broker.lock"
        self.users_lock = self.path / "users.lock"
        self._status = self.path / "broker.json"

    def prepare(self) -> None:
        """Create the folder.

        Raises BrokerError if it is not writable or its disk is full; BrokerStateUnknownError.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for file in (self.users_lock, self.supervisor_lock, self.log, self.output):
                file.open("ab").close()
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            if has_none_left(error):
                raise BrokerStateUnknownError(self.path, error) from error
            raise self._cannot_write(reason(error)) from error
        if free < MIN_FREE_BYTES:
            raise self._cannot_write(
                f"its disk is full ({free // 2**20} of at least {MIN_FREE_BYTES // 2**20} MB free)"
            )

    def is_supervised(self) -> bool:
        """Return whether a supervisor is alive. Raises BrokerStateUnknownError."""
        probe = FileLock(self.supervisor_lock)
        try:
            return not probe.try_acquire(shared=True)
        except (FileNotFoundError, NotADirectoryError):
            return False  # a folder that does not exist has no supervisor
        except OSError as error:
            raise BrokerStateUnknownError(self.supervisor_lock, error) from error
        finally:
            probe.release()

    def read_status(self) -> Status | None:
        """Return the status of the current or the last supervisor; None if there is none that can be read.

        Raises BrokerStateUnknownError.
        """
        try:
            content = json.loads(self._status.read_text("utf-8"))
            content.pop("bootstrap_servers", None)
            return Status(**content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BrokerStateUnknownError(self._status, error) from error
        except (ValueError, TypeError, AttributeError):
            return None

    def write_status(self, status: Status) -> None:
        """Write the status atomically. Raises OSError, as if the disk is full."""
        content = {**asdict(status), "bootstrap_servers": status.bootstrap_servers}
        self.write(self._status, json.dumps(content) + "\n")

    def clear_status(self) -> None:
        """Remove the status: the broker was stopped without an error."""
        with contextlib.suppress(OSError):
            self._status.unlink()

    @staticmethod
    def write(path: Path, content: str) -> None:
        """Replace a file atomically. Raises OSError."""
        new = path.with_name(path.name + ".new")
        new.write_text(content, "utf-8")
        new.replace(path)

    def _cannot_write(self, why: str) -> BrokerError:
        return BrokerError(
            f"Cannot keep the embedded broker's data in {self.path}: {why}. "
            "Free some space or give access there, or set [KAFKA] data_dir to another folder."
        )


def answers(port: int) -> bool:
    """Return whether something accepts connections on a port of this machine. Raises BrokerStateUnknownError."""
    with probe_socket(port) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def probe_socket(port: int) -> socket.socket:
    """Return a socket to probe a port with. Raises BrokerStateUnknownError if the system has none."""
    try:
        return socket.socket()
    except OSError as error:
        raise BrokerStateUnknownError(f"port {port}", error) from error
