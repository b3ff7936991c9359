"""What is known of a Kafka process without one."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.folder import MIN_FREE_BYTES, BrokerFolder, Status
from yasdg_app.kafka.embedded.node import (
    FOLDER_OPTION,
    cluster_id,
    end_orphan,
    free_port,
    last_line,
    last_words,
    require_free,
)

LOG = """\
2026-11-24 12:00:00.000 INFO starting (KafkaServer)
2026-11-24 12:00:00.100 ERROR Encountered a first one (Thing)
2026-11-24 12:00:00.200 ERROR Exiting Kafka due to fatal exception (Kafka$)
org.apache.kafka.common.KafkaException: Socket server failed to bind to 127.0.0.1:9092: Address already in use.
\tat kafka.network.Acceptor.openServerSocket(SocketServer.scala:759)
Caused by: java.net.BindException: Address already in use
\tat java.base/sun.nio.ch.Net.bind0(Native Method)
2026-11-24 12:00:00.300 INFO shut down (KafkaServer)
"""


def test_the_last_words_are_the_last_error_and_its_cause() -> None:
    assert last_words(LOG) == "Exiting Kafka due to fatal exception: java.net.BindException: Address already in use"
    assert last_words("2026-11-24 12:00:00.000 INFO all is well (KafkaServer)\n") == ""
    assert last_line("Error: Could not create the Java Virtual Machine.\nWhy.\n\n") == "Why."
    assert last_line("") == ""


def test_a_cluster_id_is_22_letters_that_no_command_line_takes_for_an_option() -> None:
    ids = {cluster_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(each) for each in ids} == {22}
    assert not any(each.startswith("-") for each in ids)


def test_a_port_that_another_program_has_is_named_with_that_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(YasdgError, match=rf"^Port {port} is taken by .*\[KAFKA\] embedded_port"):
            require_free(port)
    require_free(free_port())


def test_a_java_of_ours_is_ended_and_no_other(tmp_path: Path) -> None:
    ours, theirs = BrokerFolder(tmp_path / "ours"), BrokerFolder(tmp_path / "theirs")
    java = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", f"{FOLDER_OPTION}{ours.path}"])
    try:
        for folder, ends in ((theirs, False), (ours, True)):
            folder.prepare()
            folder.write_status(Status("ready", 1, 9092, java_pid=java.pid))
            end_orphan(folder)
            assert (java.poll() is not None) == ends
    finally:
        java.kill()
        java.wait()


def test_a_folder_that_cannot_be_written_to_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(YasdgError, match=r"data in .*/file/x: Not a directory\. .*\[KAFKA\] data_dir"):
        BrokerFolder(tmp_path / "file" / "x").prepare()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": MIN_FREE_BYTES - 1}))
    with pytest.raises(YasdgError, match=r"its disk is full \(63 of at least 64 MB free\)"):
        BrokerFolder(tmp_path / "full").prepare()


def test_a_status_is_read_as_it_was_written_and_half_of_one_is_none(tmp_path: Path) -> None:
    folder = BrokerFolder(tmp_path)
    assert folder.read_status() is None
    status = Status("failed", 1, 9092, java_pid=2, error="Port 9092 is taken")
    folder.write_status(status)
    assert folder.read_status() == status
    for damaged in ("", "{", "[]", '{"state": "ready"}'):
        (tmp_path / "broker.json").write_text(damaged)
        assert folder.read_status() is None
