"""`yasdg audit`: whether the books balance, by the topics alone."""

import gc
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.cli import option

from yasdg_app import topics as shop_topics
from yasdg_app.application import app, fail
from yasdg_app.auditing.account import NEVER, Topics, read_products
from yasdg_app.auditing.announcements import check_incidents
from yasdg_app.auditing.lost import last_lost_sale
from yasdg_app.auditing.partition import PartitionAudit, last_sale
from yasdg_app.auditing.report import Report
from yasdg_app.auditing.substitutions import Substitutions
from yasdg_app.cluster import administration
from yasdg_app.commands.base import ShopCommand
from yasdg_app.commands.progress import Progress
from yasdg_app.control import read_control
from yasdg_app.errors import YasdgError
from yasdg_app.messages import home
from yasdg_app.opening import Opening, differences, read_opening, what_it_is_made_from
from yasdg_app.reading import Message, Reader, read_all
from yasdg_app.shop.plan import Plan

PATIENCE = 5.0  # seconds for which running workers are given to tell of the last sales
MOST_SHOWN = 50  # findings in the report for people
LAST = 100  # messages of a partition among which its latest event time is looked for
ROWS = 10_000  # of the table that are asked for at once, as many as a worker shows
REQUEST = aiohttp.ClientTimeout(total=30)  # seconds

kafka = app.shop.kafka
TOPICS = Topics(
    products=kafka.topic_products,
    purchases=kafka.topic_purchases,
    stockings=kafka.topic_stockings,
    lost_sales=kafka.topic_lost_sales,
    incidents=kafka.topic_incidents,
    dead_letters=kafka.topic_dead_letters,
)
DIVIDED = (TOPICS.purchases, TOPICS.stockings, TOPICS.lost_sales, TOPICS.dead_letters)


class AuditError(YasdgError):
    """The books cannot be looked at."""


@app.command(
    option("--table", "urls", multiple=True, metavar="URL", help="Compare a running worker's table too; repeatable."),
    option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    base=ShopCommand,
)
async def audit(self: ShopCommand, urls: tuple[str, ...], as_json: bool) -> int:
    """Check that the books balance, by the topics alone, while workers run or not.

    Sales and lost sales without a gap and none twice, at hours when the shop is open, totals, costs and discounts to
    the cent, every delivery when it was due, all levels right, nobody turned away while the shelf was full, incidents
    as the plan has them. With --table also what the workers show: name one, which asks the others, or several. The
    configuration has to be that of the shop.

    Exits with 0 if all is right, 1 if anything is off, 2 if the topics cannot be read.

    Examples: yasdg audit; yasdg audit --json; yasdg audit --table http://localhost:6066
    """
    # Messages come by the hundred thousand, and without cycles: looking for some would take a fifth of the time.
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)
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
    read_products(await _all("products"), TOPICS.products, report, app.products)
    table = await read_table(urls)
    async with Reader(app.connection) as reader:
        topics = await DividedTopics.now(reader, partitions)
        announced = await _all("incidents")
        plan = await _plan(opening)  # read last: what is set later concerns only what comes later
        check_incidents(announced, plan, TOPICS.incidents, report)
        substitutions = await topics.substitutions(plan, report)
        with Progress(topics.purchases, "Auditing", "Audited {} of {} purchases") as progress:
            for partition in range(partitions):
                fold = PartitionAudit(TOPICS, partition, plan, partitions, report, table, substitutions)
                await _audit_partition(topics, partition, fold, progress)
        await _look_closer(topics, substitutions)
    return report


async def _look() -> tuple[Opening, int]:
    """Return the opening of the shop, and into how many partitions it is divided."""
    async with administration(app.connection) as admin:
        there = set(await admin.list_topics())
        own = (*TOPICS, shop_topics.opening_topic(kafka), shop_topics.control_topic(kafka))
        missing = [name for name in own if name not in there]
        if missing:
            raise AuditError(f"there is no topic {', '.join(missing)}. Has a worker opened the shop?")
        described = await admin.describe_topics([*DIVIDED])
    partitions = {len(description["partitions"]) for description in described}
    if len(partitions) != 1:
        raise AuditError("purchases, stockings, lost sales and dead letters differ in their number of partitions.")
    opening = read_opening(await read_all(app.connection, shop_topics.opening_topic(kafka)))
    if opening is None:
        raise AuditError("the shop was never opened.")
    changed = differences(opening, what_it_is_made_from(app.shop, app.products))
    if changed:
        raise AuditError(f"the shop in the log was opened with another configuration: {'; '.join(changed)}.")
    return opening, partitions.pop()


async def _all(what: str) -> Sequence[Message]:
    """Return all messages of a topic of one partition, as the default format has them."""
    topic: str = getattr(TOPICS, what)
    return await app.format.plain(what, await read_all(app.connection, topic))


async def _plain(topic: str, messages: Sequence[Message]) -> Sequence[Message]:
    """Return messages as the default format has them; dead letters as they are."""
    what = next(name for name in TOPICS._fields if getattr(TOPICS, name) == topic)
    return messages if what == "dead_letters" else await app.format.plain(what, messages)


async def _plan(opening: Opening) -> Plan:
    """Return the plan of the shop, with all that was said on its control topic."""
    records = await read_all(app.connection, shop_topics.control_topic(kafka))
    said = read_control(records, opening.clock, app.products)
    return Plan.of(app.shop, app.products, opening.opened_at).with_control(said.live, said.gaps)


@dataclass(frozen=True, slots=True)
class DividedTopics:
    """The topics that are divided into partitions, as they were at one moment."""

    reader: Reader
    partitions: int
    firsts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]

    @classmethod
    async def now(cls, reader: Reader, partitions: int) -> "DividedTopics":
        """Look where they begin and end."""
        ends: dict[TopicPartition, int] = {}
        # In this order: every restock and dead letter has its sale among these, and these the lost sales before them.
        for topics in ((TOPICS.stockings, TOPICS.dead_letters), (TOPICS.purchases,), (TOPICS.lost_sales,)):
            ends |= await reader.ends(TopicPartition(topic, n) for topic in topics for n in range(partitions))
        return cls(reader, partitions, await reader.firsts(ends), ends)

    @property
    def purchases(self) -> int:
        """Number of purchases."""
        own = (TopicPartition(TOPICS.purchases, partition) for partition in range(self.partitions))
        return sum(self.ends[tp] - self.firsts[tp] for tp in own)

    def end(self, topic: str, partition: int) -> tuple[TopicPartition, int]:
        """Return a partition, and where it ends."""
        tp = TopicPartition(topic, partition)
        return tp, self.ends[tp]

    async def chunks(self, topic: str, partition: int) -> AsyncIterator[Sequence[Message]]:
        """Yield the messages of a partition, as the default format has them."""
        tp, end = self.end(topic, partition)
        async for chunk in self.reader.chunks(tp, self.firsts[tp], end):
            yield await _plain(topic, chunk)

    async def substitutions(self, plan: Plan, report: Report) -> Substitutions:
        """Return what compares the substitutions of all partitions, as far as these are known."""
        return Substitutions(
            TOPICS,
            plan,
            {product.product_id: home(product.product_id, self.partitions) for product in app.products},
            report,
            sold_until=await self._latest(TOPICS.purchases, last_sale),
            lost_until=await self._latest(TOPICS.lost_sales, last_lost_sale),
        )

    async def _latest(self, topic: str, time_of: Callable[[Sequence[Message]], datetime]) -> dict[int, datetime]:
        """Return the latest event time in each partition of a topic."""
        latest = {}
        for partition in range(self.partitions):
            tp, end = self.end(topic, partition)
            start = max(self.firsts[tp], end - LAST)
            latest[partition] = max(
                [time_of(await _plain(topic, chunk)) async for chunk in self.reader.chunks(tp, start, end)],
                default=NEVER,
            )
        return latest


async def _audit_partition(topics: DividedTopics, partition: int, fold: PartitionAudit, progress: Progress) -> None:
    """Audit a partition, its topics side by side; wait a little for what running workers have still to tell."""
    more_stockings, more_lost, more_letters = (
        topics.chunks(topic, partition) for topic in (TOPICS.stockings, TOPICS.lost_sales, TOPICS.dead_letters)
    )
    async for messages in topics.chunks(TOPICS.purchases, partition):
        sales = fold.read(messages)
        while fold.wants_stockings(sales):
            fold.stockings(await anext(more_stockings, []))
        while fold.wants_lost_sales(sales):
            fold.lost_sales(await anext(more_lost, []))
        fold.purchases(messages, sales)
        while fold.wants_letters:
            fold.dead_letters(await anext(more_letters, []))
        progress.advance(len(messages))
    for more, take in (
        (more_stockings, fold.stockings),
        (more_lost, fold.lost_sales),
        (more_letters, fold.dead_letters),
    ):
        async for rest in more:
            take(rest)
    await _wait_for_late(topics, partition, fold)
    fold.close()


async def _wait_for_late(topics: DividedTopics, partition: int, fold: PartitionAudit) -> None:
    deadline = time.monotonic() + PATIENCE
    stockings, stocking_position = topics.end(TOPICS.stockings, partition)
    letters, letter_position = topics.end(TOPICS.dead_letters, partition)
    while fold.owes and time.monotonic() < deadline:
        late, stocking_position = await topics.reader.fetch(stockings, stocking_position)
        fold.late_stockings(await _plain(TOPICS.stockings, late))
        late, letter_position = await topics.reader.fetch(letters, letter_position)
        fold.late_letters(late)


async def _look_closer(topics: DividedTopics, substitutions: Substitutions) -> None:
    """Read once more the messages of pairs of products whose substitutions do not come out even."""
    for pair in substitutions.odd():
        closer = substitutions.closer(pair)
        async for messages in topics.chunks(TOPICS.lost_sales, closer.asked):
            closer.lost_sales(messages)
        async for messages in topics.chunks(TOPICS.purchases, closer.taken):
            closer.purchases(messages)
        closer.close()


async def read_table(urls: Sequence[str]) -> dict[str, Any]:
    """Return the rows of the running workers' table by product_id, from the first worker that knows of all of them."""
    rows: dict[str, Any] = {}
    shown: set[int] = set()
    token = app.shop.web.token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=REQUEST, headers=headers) as session:
        for url in urls:
            in_all_parts = set(range(kafka.partitions)) - shown
            path = f"/inventory/?limit={ROWS}"
            while path and in_all_parts:
                status, view = await _get(session, url.rstrip("/") + path)
                if status != 200:
                    raise AuditError(f"{url} answers with status {status}: {view}")
                rows |= {row["product_id"]: row for row in view["inventory"]}
                in_all_parts &= set(view["partitions"])
                path = view["next"]
            shown |= in_all_parts
    if urls and len(shown) < kafka.partitions:
        partitions = ", ".join(str(each) for each in range(kafka.partitions) if each not in shown)
        raise AuditError(f"{urls[-1]} cannot tell now of partitions {partitions} of the table. Try again in a moment.")
    return rows


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    try:
        async with session.get(url) as response:
            return response.status, await response.json(content_type=None)
    except (ValueError, TimeoutError) as error:
        raise AuditError(f"{url} is not a worker's: {error!r}") from error


def show(report: Report) -> None:
    """Print the report for people."""
    span = f", {report.first} to {report.last} (event time)" if report.first else ""
    print(f"{TOPICS.purchases}: {report.purchases} sales of {report.products} products{span}")
    print(f"{TOPICS.stockings}: {report.stockings} restocks")
    print(
        f"{TOPICS.lost_sales}: {report.lost_sales} lost sales: {report.lost_units} units worth "
        f"{report.lost_cents / 100:.2f} not sold, {report.substituted_units} sold of another product instead"
    )
    print(f"{TOPICS.incidents}: {report.incidents} announcements")
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
