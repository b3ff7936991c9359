"""What all commands have in common: notes on the configuration, printed beside the result."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = "[SALES]\ntransaction_quantity_one_item_freq = 13\nquantity_one_freq = 24\n"
NOTES = (
    "own.ini: [SALES] quantity_one_freq = 24: out of 30 sales, ",
    "own.ini: [SALES] transaction_quantity_one_item_freq = 13: not used yet. Every order has one line; ",
)


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    (folder / "own.ini").write_text(TEXT)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")}
    nowhere = {"YASDG_CONFIG": "own.ini", "YASDG_KAFKA_BOOTSTRAP_SERVERS": "nowhere.invalid:1"}
    return subprocess.run(
        [sys.executable, "-m", "yasdg_app", *arguments],
        cwd=folder, env=clean | nowhere, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [("plan", "--json"), ("generate", "-n", "3")])
def test_notes_are_printed_beside_the_result(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("{")
    assert "own.ini: [" not in done.stdout
    first, second, *_ = done.stderr.splitlines()
    for line, note in zip((first, second), NOTES, strict=True):
        assert line.startswith(f"yasdg: note: {note}")


def test_a_worker_logs_the_notes_before_it_connects(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(tmp_path, "worker", "--web-port", str(taken.getsockname()[1]))
    assert ended.returncode == 1
    for note in NOTES:
        [line] = [line for line in ended.stderr.splitlines() if note in line]
        assert "[WARNING]" in line
