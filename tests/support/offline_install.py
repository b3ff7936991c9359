"""Installs without an index: the packages of a lock are taken from the environment that the tests run in."""

import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

PROJECT = Path(__file__).parents[2]
LOCK = PROJECT / "requirements.lock"


def names(lock: Path = LOCK) -> Iterator[str]:
    """Yield the packages in a lock; environment markers are ignored."""
    for line in lock.read_text().splitlines():
        if found := re.match(r"([a-z0-9._-]+)==", line):
            yield found[1]


def packages_of(venv: Path) -> Path:
    """Return the folder of packages in a virtual environment of this Python."""
    return venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def take_packages(venv: Path, *, without: tuple[str, ...] = (), seen_in: Path | None = None) -> None:
    """Do what `pip install -r requirements.lock` does, with links to the packages installed here, and without scripts.

    `seen_in`: where the folder of packages will be when the links are followed, if not where it is now.
    """
    folder = packages_of(venv)
    for name in names():
        if name in without:
            continue
        there = distribution(name)
        base = seen_in or Path(str(there.locate_file("")))
        for top in {file.parts[0] for file in there.files or ()} - {"..", "__pycache__"}:
            if not os.path.lexists(folder / top):
                (folder / top).symlink_to(base / top)
