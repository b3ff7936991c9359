"""PostgreSQL, and databases that speak its protocol and have its upsert."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from decimal import Decimal
from urllib.parse import urlsplit

import asyncpg

from yasdg_app.sinks.base import (
    COLUMNS,
    CONNECT_TIMEOUT_SECONDS,
    NEWER_STAYS,
    RESPONSE_TIMEOUT_SECONDS,
    TABLE,
    DatastoreError,
    DatastoreRefusedError,
    StoredLevel,
    check_columns,
    read_level,
    reason,
)

COLUMN_TYPES = ("text", "text", "text", "numeric", "bigint", "bigint", "timestamp", "timestamp")  # of the columns
REPORTED_TYPES = {"timestamp": "timestamp without time zone"}
CREATE = f"""
CREATE TABLE {TABLE} (
    product_id text PRIMARY KEY,
    item text NOT NULL,
    category text NOT NULL,
    price numeric(12, 2) NOT NULL,
    level bigint NOT NULL,
    sales bigint NOT NULL,
    last_sale timestamp,
    shop_opened timestamp NOT NULL
)"""
LOCK_TABLE = "SELECT pg_advisory_xact_lock(hashtext('yasdg inventory'))"
FIND_COLUMNS = f"""
SELECT attname AS name, format_type(atttypid, NULL) AS kind, coalesce(attnum = ALL (conkey), false) AS is_key
FROM pg_attribute LEFT JOIN pg_constraint ON conrelid = attrelid AND contype = 'p'
WHERE attrelid = to_regclass('{TABLE}') AND attnum > 0 AND NOT attisdropped"""
READ = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE product_id = ANY ($1)"
WRITE = f"""
INSERT INTO {TABLE} AS stored ({", ".join(COLUMNS)})
SELECT * FROM unnest({", ".join(f"${number}::{kind}[]" for number, kind in enumerate(COLUMN_TYPES, 1))}){NEWER_STAYS}"""
REFUSED_CODES = {
    "28000", "28P01",  # user or password
    "3D000", "3F000",  # no such database, no schema to create a table in
    "42501", "25006",  # no permission, or a read-only server
    "42704",  # an unknown parameter in the address
}  # fmt: skip


class PostgreSQL:
    """The table `inventory` in a database, in the first schema of the connection's search path.

    Parameters
    ----------
    url
        As asyncpg accepts it: `postgresql://user:password@host:port/database`, with parameters such as `sslmode`.
        Missing parts are taken from PGPASSWORD and similar variables.
    """

    batch = 500

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.name = f"PostgreSQL at {address.netloc.rpartition('@')[2]}{address.path}"
        self._url = url
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def open(self) -> bool:
        if self._connection is not None and not self._connection.is_closed():
            return False
        async with _convert_errors():
            connection = await asyncpg.connect(
                self._url, timeout=CONNECT_TIMEOUT_SECONDS, command_timeout=RESPONSE_TIMEOUT_SECONDS
            )
        try:
            async with _convert_errors():
                await _ensure_table(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return True

    async def read(self, product_ids: Sequence[str]) -> dict[str, StoredLevel]:
        async with self._connected() as connection:
            records = await connection.fetch(READ, product_ids)
        levels = (read_level([*columns, _text(last), _text(opened)]) for *columns, last, opened in records)
        return {level.product_id: level for level in levels}

    async def write(self, levels: Sequence[StoredLevel]) -> None:
        rows = [
            (
                *(level.product_id, level.item, level.category, Decimal(level.price_cents) / 100),
                *(level.level, level.sales, _time(level.last_sale), _time(level.shop_opened)),
            )
            for level in levels
        ]
        async with self._connected() as connection:
            await connection.execute(WRITE, *zip(*rows, strict=True))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DatastoreError):
                async with _convert_errors():
                    await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Yield the connection; after an error it is closed, and the next `open` connects again."""
        connection = self._connection
        if connection is None:
            raise DatastoreError("it is not open")
        try:
            async with _convert_errors():
                yield connection
        except DatastoreError:
            connection.terminate()
            raise


async def _ensure_table(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Create the table if there is none, and check the columns of an existing one. Raises DatastoreRefusedError."""
    if not await connection.fetch(FIND_COLUMNS):
        async with connection.transaction():
            await connection.execute(LOCK_TABLE)  # if several workers start at once, one creates it
            if not await connection.fetch(FIND_COLUMNS):
                await connection.execute(CREATE)
    existing = {record["name"]: (record["kind"], record["is_key"]) for record in await connection.fetch(FIND_COLUMNS)}
    check_columns(existing, (REPORTED_TYPES.get(kind, kind) for kind in COLUMN_TYPES))


@asynccontextmanager
async def _convert_errors() -> AsyncIterator[None]:
    """Convert errors of asyncpg to DatastoreError or DatastoreRefusedError."""
    try:
        yield
    except asyncpg.PostgresError as error:
        kind = DatastoreRefusedError if error.sqlstate in REFUSED_CODES else DatastoreError
        raise kind(reason(error)) from error
    except TimeoutError as error:
        raise DatastoreError("it does not answer") from error
    except (ssl.SSLCertVerificationError, asyncpg.ClientConfigurationError) as error:
        raise DatastoreRefusedError(reason(error)) from error
    except (OSError, asyncpg.InterfaceError) as error:
        raise DatastoreError(reason(error)) from error
    except ValueError as error:  # invalid host name
        raise DatastoreRefusedError(reason(error)) from error


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(time: object) -> str:
    """Return a time as text; "" for none, and for what another program has stored in a column of another type."""
    return time.isoformat(" ", "microseconds") if isinstance(time, datetime) else ""
