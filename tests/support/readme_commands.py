"""The commands in READMEs: their indented lines, split as by a shell."""

import subprocess
from pathlib import Path


def commands(readme: Path) -> list[list[str]]:
    """Return each command as words; braces are expanded, and text after a # is omitted."""
    lines = readme.read_text().replace("\\\n", "").splitlines()
    typed = (line.strip() for line in lines if line.startswith("    "))
    return [words(line) for line in typed if line.startswith((".venv/bin/", "make "))]


def words(line: str) -> list[str]:
    shell = ["bash", "-c", f"printf '%s\\0' {line}"]
    ran = subprocess.run(shell, capture_output=True, text=True, check=True, timeout=60)
    return ran.stdout.split("\0")[:-1]


def bounded(readme: Path) -> list[str]:
    """Return the arguments of the command with an end: those of the program in the one before `yasdg verify`."""
    typed = commands(readme)
    (its,) = (number for number, words in enumerate(typed) if "verify" in words)
    python, _, *arguments = typed[its - 1]
    assert python == ".venv/bin/python"
    return arguments
