"""What is printed comes out, whatever characters the output takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
ASCII = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("YASDG_", "PYTHON", "LC_"))}
    return subprocess.run([sys.executable, *arguments], env=clean | environment, capture_output=True, timeout=120)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_stays_json_in_any_encoding(encoding: str) -> None:
    text = "2 × Käse 🍓 \ud800 \t"
    code = (
        "from yasdg_app.process.terminal import escape_what_the_output_cannot_take as escape; escape();"
        f"import json; print(json.dumps({text!a}, ensure_ascii=False))"
    )
    done = run("-c", code, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode(encoding)) == text


@pytest.mark.parametrize("arguments", [("plan",), ("plan", "--help"), ("--help",), ("worker", "--help"), ("oops",)])
def test_commands_end_as_elsewhere_where_the_terminal_takes_ascii_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = {"YASDG_CONFIG": str(PROJECT / "config" / "scenarios" / "year.ini"), "YASDG_CLOCK_END": "2026-01-20"}
    scenario |= {"YASDG_CLOCK_START": "2026-01-01"}
    usual = run("-m", "yasdg_app", *arguments, PYTHONIOENCODING="utf-8", **scenario)
    done = run("-m", "yasdg_app", *arguments, **ASCII, **scenario)
    assert b"Traceback" not in done.stderr
    assert done.returncode == usual.returncode
    assert (done.stdout + done.stderr).strip()
