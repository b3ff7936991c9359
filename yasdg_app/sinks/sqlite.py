"""SQLite: a file on this machine that any number of workers may write concurrently."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from yasdg_app.sinks.base import (
    COLUMNS,
    NEWER_STAYS,
    TABLE,
    DatastoreError,
    DatastoreRefusedError,
    StoredLevel,
    check_columns,
    read_level,
    reason,
)

T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 2.0  # that a call waits for another worker, or for another program that has locked the file
COLUMN_TYPES = ("TEXT", "TEXT", "TEXT", "NUMERIC", "INTEGER", "INTEGER", "TEXT", "TEXT")  # of the columns
CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    product_id TEXT NOT NULL PRIMARY KEY,
    item TEXT NOT NULL,
    category TEXT NOT NULL,
    price NUMERIC NOT NULL,
    level INTEGER NOT NULL,
    sales INTEGER NOT NULL,
    last_sale TEXT,
    shop_opened TEXT NOT NULL
)"""
READ = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE product_id IN (SELECT value FROM json_each(?))"
WRITE = f"""
INSERT INTO {TABLE} AS stored ({", ".join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?){NEWER_STAYS}"""
TEMPORARY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


class FileReplacedError(DatastoreError):
    """The file no longer exists, or is another one."""


class SQLite:
    """The table `inventory` in a file.

    Its calls run in a separate thread, so that a call that waits for another worker blocks nothing else.

    Parameters
    ----------
    path
        Path of the file, which is created with its folder if there is none.
    """

    batch = 500

    def __init__(self, path: Path) -> None:
        self.name = f"SQLite in {path}"
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._opened_file: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(1)

    async def open(self) -> bool:
        if self._connection is not None:
            return False
        await self._in_thread(self._open)
        return True

    async def read(self, product_ids: Sequence[str]) -> dict[str, StoredLevel]:
        rows = await self._in_thread(lambda: self._opened().execute(READ, [json.dumps(product_ids)]).fetchall())
        return {level.product_id: level for level in map(read_level, rows)}

    async def write(self, levels: Sequence[StoredLevel]) -> None:
        rows = [
            (
                *(level.product_id, level.item, level.category, level.price_cents / 100),
                *(level.level, level.sales, level.last_sale or None, level.shop_opened),
            )
            for level in levels
        ]
        await self._in_thread(lambda: self._write(rows))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._in_thread(connection.close)

    def _opened(self) -> sqlite3.Connection:
        """Return the connection.

        Raises FileReplacedError if the path has another file or none: writes would not be visible.
        """
        if self._connection is None or self._file() != self._opened_file:
            raise FileReplacedError("its file was taken away")
        return self._connection

    def _file(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatastoreRefusedError(f"its folder cannot be made: {error.strerror or error}") from error
        # We begin transactions ourselves.
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")  # readers do not block writers
            # Rows lost in a power failure are written again by the next takeover.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(CREATE)
            self._check(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._opened_file = connection, self._file()

    def _check(self, connection: sqlite3.Connection) -> None:
        """Check the columns of an existing table. Raises DatastoreRefusedError."""
        existing = {
            name: (kind.upper(), bool(key))
            for _, name, kind, _, _, key in connection.execute(f"PRAGMA table_info({TABLE})")
        }
        check_columns(existing, COLUMN_TYPES)

    def _write(self, rows: Sequence[tuple[object, ...]]) -> None:
        with self._opened() as connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(WRITE, rows)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except FileReplacedError:
            await self.close()
            raise
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the primary one
            if code in TEMPORARY_CODES:
                raise DatastoreError(reason(error)) from error
            await self.close()
            raise DatastoreRefusedError(reason(error)) from error
