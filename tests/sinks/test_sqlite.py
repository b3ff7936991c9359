"""What is SQLite's own: a file may be taken away, or never have been a database."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from yasdg_app.sinks.base import DatastoreError, DatastoreRefusedError, StoredLevel, compare
from yasdg_app.sinks.factory import create_datastore
from yasdg_app.sinks.sqlite import SQLite

LEVEL = StoredLevel("CS01", "Sunrise Sunset", "Classic Smoothies", 499, 75, 0, "", "2026-01-01 08:00:00.000000")


@pytest.mark.parametrize(("url", "path"), [("sqlite:///a/b%20c.db", "a/b c.db"), ("sqlite:////a/b.db", "/a/b.db")])
def test_a_path_is_relative_unless_it_begins_with_a_fourth_slash(url: str, path: str) -> None:
    store = create_datastore(url)
    assert isinstance(store, SQLite)
    assert store.name == f"SQLite in {path}"


def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path, runner: asyncio.Runner) -> None:
    path = tmp_path / "new" / "inventory.db"
    store = SQLite(path)
    assert runner.run(store.open())
    runner.run(store.write([LEVEL]))
    path.rename(tmp_path / "old.db")
    with pytest.raises(DatastoreError, match="taken away"):
        runner.run(store.write([LEVEL]))
    assert runner.run(store.open()) is True  # so that all rows are written again
    assert runner.run(store.read(["CS01"])) == {}
    runner.run(store.write([LEVEL]))
    assert runner.run(store.read(["CS01"])) == {"CS01": LEVEL}
    runner.run(store.close())


def test_a_file_that_is_no_database_is_refused_and_stays(tmp_path: Path, runner: asyncio.Runner) -> None:
    path = tmp_path / "diary.txt"
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(DatastoreRefusedError, match="not a database"):
        runner.run(SQLite(path).open())
    assert path.read_text() == "Dear diary, " * 1000


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, runner: asyncio.Runner) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatastoreRefusedError, match="its folder cannot be made: "):
        runner.run(SQLite(tmp_path / "file" / "inventory.db").open())


def test_what_somebody_put_there_that_cannot_be_is_read_as_something_else(
    tmp_path: Path, runner: asyncio.Runner
) -> None:
    store = SQLite(tmp_path / "inventory.db")
    runner.run(store.open())
    runner.run(store.write([LEVEL]))
    with closing(sqlite3.connect(tmp_path / "inventory.db")) as by_hand:
        by_hand.execute("UPDATE inventory SET item = x'00', price = 'cheap', level = 1e999, sales = -1")
        by_hand.commit()
    there = runner.run(store.read(["CS01"]))
    assert there == {"CS01": LEVEL._replace(item="", price_cents=-1, level=-1, sales=-1)}
    assert compare([LEVEL], there).to_write == [LEVEL]
    runner.run(store.write([LEVEL]))
    assert runner.run(store.read(["CS01"])) == {"CS01": LEVEL}
    runner.run(store.close())
