"""Where nobody can look, nothing is known: a broker is not gone because a look at it failed."""

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.errors import BrokerError, BrokerStateUnknownError
from yasdg_app.kafka.embedded.folder import HOST, BrokerFolder, Status, answers
from yasdg_app.kafka.embedded.locks import FileLock
from yasdg_app.kafka.embedded.node import require_free
from yasdg_app.kafka.embedded.supervisor import BrokerSupervisor

PORT = 23_456


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Have no descriptor to open anything with: those that are open stay so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Kept:
    """A folder with a supervisor that says that its broker is ready, and a user who has seen it so."""

    def __init__(self, path: Path) -> None:
        self.folder = BrokerFolder(path)
        self.folder.prepare()
        self.supervisor = FileLock(self.folder.supervisor_lock)
        self.supervisor.try_acquire()
        self.server = socket.create_server((HOST, 0))
        self.port = self.server.getsockname()[1]
        self.folder.write_status(Status("ready", os.getpid(), self.port))
        self.user = EmbeddedBroker(path, self.port)
        self.user.start()

    def close(self) -> None:
        self.server.close()
        self.supervisor.release()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.close()


def test_without_a_descriptor_a_broker_is_not_gone(kept: Kept) -> None:
    assert kept.user.is_running()
    with no_descriptors():
        assert kept.user.is_running()
    assert kept.user.is_running()
    kept.supervisor.release()
    assert not kept.user.is_running()


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOLCK, errno.ENOMEM, errno.EACCES, errno.EIO, errno.ENOSPC])
def test_nor_is_it_for_any_other_want_of_the_system(kept: Kept, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        assert kept.user.is_running()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fail)
        assert kept.user.is_running()


def test_a_folder_that_is_not_there_has_no_keeper(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path / "nothing")
    assert not folder.is_supervised()
    assert folder.read_status() is None


LOOKS: dict[str, Callable[[Kept], object]] = {
    "whether it is kept": lambda kept: kept.folder.is_supervised(),
    "what it said": lambda kept: kept.folder.read_status(),
    "whether it answers": lambda kept: answers(kept.port),
    "whether its port is free": lambda kept: require_free(kept.port),
    "whether its folder can be used": lambda kept: kept.folder.prepare(),
    "all that, for a start": lambda kept: EmbeddedBroker(kept.folder.path, kept.port).start(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_that_cannot_be_taken_says_so_in_one_line_and_what_to_raise(
    kept: Kept, look: Callable[[Kept], object]
) -> None:
    with no_descriptors(), pytest.raises(BrokerStateUnknownError) as caught:
        look(kept)
    assert isinstance(caught.value, BrokerError)
    said = str(caught.value)
    assert "Too many open files" in said
    assert "LimitNOFILE" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENFILE, " Raise the limit of open files (LimitNOFILE, ulimit -n) if this persists."),
        (errno.EACCES, " Give access there if this persists."),
        (errno.EPERM, " Give access there if this persists."),
        (errno.ENOLCK, " Put [KAFKA] data_dir on a local disk if this persists."),
        (errno.EOPNOTSUPP, " Put [KAFKA] data_dir on a local disk if this persists."),
        (errno.ENOMEM, ""),
        (errno.EIO, ""),
    ],
)
def test_the_advice_is_about_what_went_wrong(number: int, advice: str) -> None:
    said = str(BrokerStateUnknownError("/data", OSError(number, os.strerror(number))))
    assert said == f"Cannot check whether the embedded broker runs (/data): {os.strerror(number)}.{advice}"


def test_a_keeper_that_cannot_look_goes_on(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path)
    folder.prepare()
    supervisor = BrokerSupervisor(folder, PORT)
    with no_descriptors():
        assert not supervisor._is_to_stop()
        assert not supervisor._answers()
    assert supervisor._is_to_stop()  # nobody uses it
