"""What examples run with: jars that are pinned, and a Java that is neither too old nor too new."""

from pathlib import Path

import jars
import pytest
from jgo.env import EnvironmentSpec, LockFile, compute_spec_hash

from yasdg_app.brokers.jars import read_lock
from yasdg_app.errors import YasdgError

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
