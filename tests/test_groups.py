"""How the tests themselves are run: with pytest 9.2 pytest-xdist 3.8 keeps no group together, and does not say so."""

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_of_a_group(number): pass
"""


def test_a_group_is_kept_to_one_process(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "--numprocesses=2", "--dist=loadgroup", "--verbose", "--rootdir=.", "."]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    said = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True, timeout=120).stdout
    assert len(re.findall(r"PASSED", said)) == 8
    assert len(set(re.findall(r"^\[(gw\d)\]", said, re.MULTILINE))) == 1
