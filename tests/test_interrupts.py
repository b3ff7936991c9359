"""Ctrl-C reaches what tests start, even if the tests themselves were started in the background."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CHILD = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
STARTS = f"""
import subprocess, sys
sys.path.insert(0, {str(TESTS)!r})
%s
sys.exit(subprocess.run([sys.executable, "-c", {CHILD!r}]).returncode)
"""
MENDED = STARTS % "from support.interrupts import let_children_be_interrupted as let; let()"


@pytest.mark.parametrize(("program", "is_ignored"), [(STARTS % "", 1), (MENDED, 0)], ids=["as it was", "mended"])
def test_a_child_can_be_interrupted_where_the_shell_ignores_ctrl_c(program: str, is_ignored: int) -> None:
    background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", program]
    assert subprocess.run(background, timeout=60).returncode == is_ignored


def test_nothing_that_these_tests_start_ignores_ctrl_c() -> None:
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    assert subprocess.run([sys.executable, "-c", CHILD], timeout=60).returncode == 0
