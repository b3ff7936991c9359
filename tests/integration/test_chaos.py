"""`make chaos` itself: what it does to the broker it can undo, so that a run comes to its end."""

import sys
from pathlib import Path

import psutil
import pytest
from chaos import read_arguments
from support.chaos_run import Chaos

from yasdg_app.kafka.embedded.folder import BrokerFolder, answers


def test_a_separate_broker_is_there_again_after_it_was_killed_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos.py", "--broker", "separate", "--seed", "1"])
    chaos = Chaos(read_arguments(), tmp_path)
    try:
        chaos.broker.start()
        for _ in range(2):
            status = BrokerFolder(chaos.broker_folder).read_status()
            assert status is not None
            assert status.java_pid is not None
            before = psutil.Process(status.java_pid)
            chaos.kill_broker()  # the last failure, and the run is over: nothing of what is due comes
            chaos.restart_broker()  # as `drain` does
            _, alive = psutil.wait_procs([before], timeout=30)
            assert not alive
            assert answers(chaos.port)
    finally:
        chaos.close()
