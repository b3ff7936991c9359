"""Who holds a lock, and what becomes of it when a process forks, runs another, or is killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from yasdg_app.kafka.embedded.locks import FileLock

HOLDER = """
import os, sys, time; from pathlib import Path; from yasdg_app.kafka.embedded.locks import FileLock
say = lambda line: os.write(1, f"{{line}}\\n".encode())  # one write is one line, whoever else writes
lock = FileLock(Path(sys.argv[1])); assert lock.try_acquire()
{then}
say("held"); time.sleep(600)
"""


def test_one_holder_excludes_all_others_until_it_lets_go(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.try_acquire()
    assert one.try_acquire()
    assert not other.try_acquire()
    assert not other.try_acquire(shared=True)
    one.release()
    one.release()
    assert not one.held
    assert other.try_acquire()
    other.release()


def test_those_who_share_a_lock_exclude_only_who_wants_it_alone(tmp_path: Path) -> None:
    one, two, alone = (FileLock(tmp_path / "lock") for _ in range(3))
    assert one.try_acquire(shared=True)
    assert two.try_acquire(shared=True)
    one.release()
    assert not alone.try_acquire()
    two.release()
    assert alone.try_acquire()
    alone.release()


@pytest.mark.parametrize(
    "then",
    [
        "",
        "if os.fork() == 0: say(os.getpid()); time.sleep(600)",
        "import subprocess; say(subprocess.Popen(['sleep', '600'], close_fds=False).pid)",
    ],
    ids=["alone", "that forked", "that ran another program"],
)
def test_a_killed_holder_holds_nothing(tmp_path: Path, then: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(then=then), str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = None
    while (line := holder.stdout.readline().strip()) != "held":
        child = int(line)
    if then and child is None:
        child = int(holder.stdout.readline())
    lock = FileLock(tmp_path / "lock")
    assert not lock.try_acquire()
    holder.kill()
    holder.wait()
    try:
        assert lock.try_acquire()
    finally:
        lock.release()
        holder.stdout.close()
        if child is not None:
            subprocess.run(["kill", "-9", str(child)], check=True)
