"""Reads the inventory table from the web ports of running workers."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from yasdg_app.audit.report import AuditError, printable
from yasdg_app.kafka.decoding import UnreadableError, decoded

ROWS_PER_REQUEST = 10_000  # max that a worker returns
ROWS_PATH = "/inventory/?"
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds


class TableRow(msgspec.Struct):
    """The validated fields of a row; all others are compared with the log without validation."""

    product_id: str
    sales: int
    lost_sales: int = 0


class TablePage(msgspec.Struct):
    """A worker's response: some rows, the partitions for which it is complete, and the path of the next rows."""

    inventory: list[dict[str, Any]]
    partitions: list[int]
    next: str | None = None


_read_page = msgspec.json.Decoder(TablePage).decode


async def read_table(urls: Sequence[str], partitions: int, token: str) -> dict[str, Any]:
    """Return the rows of the running workers' table by product_id, from the first worker that knows all of them.

    `token`: sent to each worker, if not empty. Raises AuditError if a response is not one of a worker, or if a
    partition is on none of the workers.
    """
    rows: dict[str, Any] = {}
    shown: set[int] = set()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=REQUEST_TIMEOUT, headers=headers) as session:
        for url in urls:
            complete = set(range(partitions)) - shown
            path: str | None = f"{ROWS_PATH}limit={ROWS_PER_REQUEST}"
            asked: set[str] = set()
            while path and complete and path not in asked:
                asked.add(path)
                status, body = await _get(session, url.rstrip("/") + path)
                if status != 200:
                    raise AuditError(f"{url} returned HTTP status {status}: {printable(body.decode(errors='replace'))}")
                page, page_rows = table_page(url, body)
                rows |= page_rows
                complete &= set(page.partitions)
                path = page.next if page_rows else None
            shown |= complete
    if urls and len(shown) < partitions:
        missing = ", ".join(str(each) for each in range(partitions) if each not in shown)
        raise AuditError(f"{urls[-1]} does not know partitions {missing} at the moment. Try again in a few seconds.")
    return rows


def table_page(url: str, body: bytes) -> tuple[TablePage, dict[str, dict[str, Any]]]:
    """Return a worker's response, and its rows by product_id. Raises AuditError if it is not a valid response."""
    try:
        page = decoded(_read_page, body)
        # The next rows are requested with our token: only from the same address.
        if page.next is not None and not page.next.startswith(ROWS_PATH):
            raise AuditError(f"{url} is not a worker: it names {printable(page.next)} as the path of its next rows")
        return page, {msgspec.convert(row, TableRow).product_id: row for row in page.inventory}
    except (UnreadableError, msgspec.ValidationError) as error:
        raise AuditError(f"{url} is not a worker: {printable(str(error))}") from error


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    try:
        async with session.get(url, allow_redirects=False) as response:
            return response.status, await response.read()
    except (ValueError, TimeoutError) as error:
        raise AuditError(f"{url} is not a worker: {error!r}") from error
