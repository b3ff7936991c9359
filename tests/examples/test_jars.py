"""What examples run with: jars that are pinned, and a Java that is neither too old nor too new."""

import subprocess
import sys
from pathlib import Path

import jars
import pytest
from jgo.env import EnvironmentSpec, LockFile, compute_spec_hash

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.jars import read_lock

EXAMPLES = Path(jars.__file__).parent
LOCKS = sorted(EXAMPLES.glob("*/jgo.lock.toml"))


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.parent.name for lock in LOCKS])
def test_each_lock_was_made_from_the_specification_beside_it_and_has_no_address(lock: Path) -> None:
    specification = lock.with_name("jgo.toml")
    assert LockFile.load(lock).spec_hash == compute_spec_hash(specification)
    locked = read_lock(lock)
    assert set(EnvironmentSpec.load(specification).coordinates) <= {
        f"{jar.group}:{jar.artifact}:{jar.version}" for jar in locked
    }
    assert len({jar.path for jar in locked}) == len(locked)
    assert all(len(jar.sha256) == 64 for jar in locked)
    assert "://" not in lock.read_text() + specification.read_text()


@pytest.mark.parametrize(("version", "fits"), [("11.0.2", False), ("17.0.15", True), ("21.0.8", True), ("25", False)])
def test_an_engine_gets_a_java_that_it_was_made_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, fits: bool
) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    if fits:
        assert jars.java() == java
        with pytest.raises(YasdgError, match=r"^This engine needs a JDK, and .*/bin/java is that of a JRE\. Install "):
            jars.command(EXAMPLES / "flink", "Sql.java")
    else:
        with pytest.raises(YasdgError, match=r"needs Java 17 to 21 and found none \(.* is Java \d+\)\. Install "):
            jars.java()


HELLO = (
    'public class Hello { public static void main(String[] a) { System.out.print(System.getProperty("to") + a[0]); } }'
)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "jgo.lock.toml").write_text("dependencies = []\n")
    (folder / "java.options").write_text("-Dto=world\n")
    (folder / "Hello.java").write_text(HELLO)
    return folder


def test_a_source_file_is_compiled_once_and_run_with_its_options(example: Path) -> None:
    command = [sys.executable, jars.__file__, str(example), "Hello.java", "!"]
    for _ in range(2):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (ran.returncode, ran.stdout) == (0, "world!"), ran
    (compiled,) = example.parent.glob("yasdg/jars/classes/Hello-*/Hello.class")
    made = compiled.stat().st_mtime_ns
    jars.command(example, "Hello.java")
    assert compiled.stat().st_mtime_ns == made


def test_what_cannot_be_compiled_is_said(example: Path) -> None:
    (example / "Hello.java").write_text(HELLO.replace("print", "prind"))
    ran = subprocess.run([sys.executable, jars.__file__, str(example), "Hello.java"], capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == f"{example / 'Hello.java'} cannot be compiled: see above."
    assert not list(example.parent.glob("yasdg/jars/classes/*"))
