"""`yasdg audit`: whether the books balance, by the topics alone."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import click
import orjson
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faust.cli import option

from yasdg_app import topics as shop_topics
from yasdg_app.application import app, fail
from yasdg_app.auditing.account import Product, read_products
from yasdg_app.auditing.partition import PartitionAudit, Rule, Topics
from yasdg_app.auditing.report import Report
from yasdg_app.commands.base import ShopCommand
from yasdg_app.errors import YasdgError
from yasdg_app.opening import Opening, read_opening
from yasdg_app.reading import Reader, read_all

PATIENCE = 5.0  # seconds for which running workers are given to tell of the last sales
MOST_SHOWN = 50  # findings in the report for people
REQUEST = aiohttp.ClientTimeout(total=30)  # seconds

kafka = app.shop.kafka
TOPICS = Topics(kafka.topic_products, kafka.topic_purchases, kafka.topic_stockings, kafka.topic_dead_letters)


class AuditError(YasdgError):
    """The books cannot be looked at."""


@app.command(
    option("--table", "urls", multiple=True, metavar="URL", help="Compare a running worker's table too; repeatable."),
    option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    base=ShopCommand,
)
async def audit(self: ShopCommand, urls: tuple[str, ...], as_json: bool) -> int:
    """Check that the books balance, by the topics alone, while workers run or not.

    Sales without a gap and none twice, totals to the cent, every restock caused by a sale, all levels right. With
    --table also what a worker shows: name each worker, or one, which then asks the others product by product.

    Exits with 0 if all is right, 1 if anything is off, 2 if the topics cannot be read.

    Examples: yasdg audit; yasdg audit --json; yasdg audit --table http://localhost:6066
    """
    try:
        report = await audit_topics(urls)
    except (YasdgError, KafkaError, aiohttp.ClientError, OSError) as error:
        fail(AuditError(f"Cannot audit {app.bootstrap_servers}: {error}"), 2)
    if as_json:
        print(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2).decode())
    else:
        show(report)
    return 0 if report.balanced else 1


async def audit_topics(urls: tuple[str, ...] = ()) -> Report:
    """Audit the configured topics as they are now."""
    report = Report()
    opening, partitions = await _look()
    products = read_products(await read_all(app.bootstrap_servers, TOPICS.products), TOPICS.products, report)
    table = await read_table(urls, products)
    rule = Rule(*(int(opening.made_from[name]) for name in ("min_inventory", "restock_amount")))
    purchases, stockings, letters = (
        [TopicPartition(topic, partition) for partition in range(partitions)] for topic in TOPICS[1:]
    )
    async with Reader(app.bootstrap_servers) as reader:
        # In this order: every restock among those has its sale among these.
        ends = await reader.ends([*stockings, *letters])
        ends |= await reader.ends(purchases)
        firsts = await reader.firsts(ends)
        with Progress(sum(ends[tp] - firsts[tp] for tp in purchases)) as progress:
            for partition in range(partitions):
                fold = PartitionAudit(TOPICS, partition, products, partitions, rule, report, table)
                tps = purchases[partition], stockings[partition], letters[partition]
                await _audit_partition(reader, fold, progress, *((tp, firsts[tp], ends[tp]) for tp in tps))
    return report


async def _look() -> tuple[Opening, int]:
    """Return the opening of the shop, and into how many partitions it is divided."""
    admin = AIOKafkaAdminClient(bootstrap_servers=app.bootstrap_servers)
    try:
        await admin.start()
        there = set(await admin.list_topics())
        missing = [name for name in (*TOPICS, shop_topics.opening_topic(kafka)) if name not in there]
        if missing:
            raise AuditError(f"there is no topic {', '.join(missing)}. Has a worker opened the shop?")
        described = await admin.describe_topics([*TOPICS[1:]])
    finally:
        await admin.close()
    partitions = {len(description["partitions"]) for description in described}
    if len(partitions) != 1:
        raise AuditError("purchases, stockings and dead letters differ in their number of partitions.")
    opening = read_opening(await read_all(app.bootstrap_servers, shop_topics.opening_topic(kafka)))
    if opening is None:
        raise AuditError("the shop was never opened.")
    return opening, partitions.pop()


Span = tuple[TopicPartition, int, int]
"""A partition, and the offsets from which and up to which it is read."""


async def _audit_partition(
    reader: Reader, fold: PartitionAudit, progress: "Progress", purchases: Span, stockings: Span, letters: Span
) -> None:
    """Audit a partition, its topics side by side; wait a little for what running workers have still to tell."""
    more_stockings, more_letters = reader.chunks(*stockings), reader.chunks(*letters)
    async for messages in reader.chunks(*purchases):
        sales = fold.read(messages)
        while fold.wants_stockings(sales):
            fold.stockings(await anext(more_stockings, []))
        while fold.wants_letters(messages):
            fold.dead_letters(await anext(more_letters, []))
        fold.purchases(messages, sales)
        progress.advance(len(messages))
    async for rest in more_stockings:
        fold.stockings(rest)
    async for rest in more_letters:
        fold.dead_letters(rest)
    deadline = time.monotonic() + PATIENCE
    stocking_position, letter_position = stockings[2], letters[2]
    while fold.owes and time.monotonic() < deadline:
        late, stocking_position = await reader.fetch(stockings[0], stocking_position)
        fold.late_stockings(late)
        late, letter_position = await reader.fetch(letters[0], letter_position)
        fold.late_letters(late)
    fold.close()


async def read_table(urls: tuple[str, ...], products: Mapping[str, Product]) -> dict[str, Any]:
    """Return the rows of the running workers' table by product_id: from the workers named, through them from others."""
    rows: dict[str, Any] = {}
    if not urls:
        return rows
    shown: set[int] = set()
    async with aiohttp.ClientSession(timeout=REQUEST) as session:
        for url in urls:
            status, view = await _get(session, f"{url.rstrip('/')}/inventory/")
            if status != 200:
                raise AuditError(f"{url} answers with status {status}: {view}")
            shown.update(view["partitions"])
            rows |= {row["product_id"]: row for row in view["inventory"]}
        elsewhere = [product_id for product_id in products if product_id not in rows]
        for product_id in elsewhere if len(shown) < kafka.partitions else ():
            status, row = await _get(session, f"{urls[0].rstrip('/')}/inventory/{product_id}/")
            if status == 200:
                rows[product_id] = row
            elif status != 404:  # which is a product that was not sold yet
                raise AuditError(f"{urls[0]} answers with status {status} for {product_id}: {row}")
    return rows


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    try:
        async with session.get(url) as response:
            return response.status, await response.json(content_type=None)
    except (ValueError, TimeoutError) as error:
        raise AuditError(f"{url} is not a worker's: {error!r}") from error


class Progress:
    """How far the audit is, on the standard error: a bar on a terminal, else a line every now and then."""

    EVERY = 10.0  # seconds

    def __init__(self, total: int) -> None:
        self._bar: Any = click.progressbar(length=total, label="Auditing", file=sys.stderr, show_pos=True)
        self._total, self._done, self._told = total, 0, time.monotonic()
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        if self._terminal:
            self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._terminal:
            self._bar.__exit__(*error)

    def advance(self, count: int) -> None:
        """Note that so many more messages were audited."""
        self._done += count
        if self._terminal:
            self._bar.update(count)
        elif time.monotonic() - self._told > self.EVERY:
            self._told = time.monotonic()
            print(f"Audited {self._done} of {self._total} purchases", file=sys.stderr, flush=True)


def show(report: Report) -> None:
    """Print the report for people."""
    span = f", {report.first} to {report.last} (event time)" if report.first else ""
    print(f"{TOPICS.purchases}: {report.purchases} sales of {report.products} products{span}")
    print(f"{TOPICS.stockings}: {report.stockings} restocks")
    print(f"{TOPICS.dead_letters}: {report.dead_letters} messages")
    if report.table_rows:
        print(f"the workers' table: {report.table_rows} products compared with the log")
    if report.balanced:
        print("The books balance.")
        return
    print("The books do not balance: " + ", ".join(f"{count} × {kind}" for kind, count in report.kinds.items()))
    for finding in report.findings[:MOST_SHOWN]:
        print(f"    {finding}")
    if len(report.findings) > MOST_SHOWN:
        print(f"    … the first {MOST_SHOWN} of {sum(report.kinds.values())}; --json shows {len(report.findings)}")
