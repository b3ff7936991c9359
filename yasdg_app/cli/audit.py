"""`yasdg audit`: whether the books balance, by the topics alone."""

import gc
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import aiohttp
import msgspec
import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.cli import option

from yasdg_app.application import app, fail
from yasdg_app.audit.account import BEGINNING_OF_TIME, Deleted, Topics, read_products
from yasdg_app.audit.incident_events import check_incidents
from yasdg_app.audit.lost_sales import last_lost_sale
from yasdg_app.audit.partition import PartitionAudit, last_sale
from yasdg_app.audit.report import Finding, Foreign, Report, printable
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.cli.base import ShopCommand
from yasdg_app.cli.progress import Progress
from yasdg_app.cluster_state.control_records import read_control
from yasdg_app.cluster_state.manifest import ConfigurationChangedError, ShopManifest, UnknownShopError, find_shop
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.errors import YasdgError
from yasdg_app.kafka import topics as shop_topics
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.decoding import UnreadableError, decoded
from yasdg_app.kafka.reader import Chunk, DamagedLogError, Message, Reader, stretches_back
from yasdg_app.messages.ids import home
from yasdg_app.shop.plan import Plan

PATIENCE = 5.0  # seconds for which running workers are given to tell of the last sales
MOST_SHOWN = 50  # findings in the report for people
LAST_OFFSETS = 100  # of a partition among which its latest event time is looked for first
ROWS = 10_000  # of the table that are asked for at once, as many as a worker shows
ROWS_PATH = "/inventory/?"
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
CONTROL = shop_topics.control_topic(kafka)
DIVIDED = (TOPICS.purchases, TOPICS.stockings, TOPICS.lost_sales, TOPICS.dead_letters)
PUT_ASIDE = (TOPICS.purchases, TOPICS.lost_sales)
"""The topics whose foreign messages are copied to the dead letters; those of others are ignored."""


class AuditError(YasdgError):
    """The books cannot be looked at."""


class Damage(YasdgError):
    """A topic cannot be read any further; `finding` tells where, and why."""

    def __init__(self, tp: TopicPartition, offset: int) -> None:
        text = (
            "the checksum of the batch does not match, so it was damaged on the broker's disk, and the rest of the "
            "partition is not audited. Check the disk, restore the partition from a replica or a backup, audit again"
        )
        self.finding = Finding("damaged", tp.topic, tp.partition, offset, text)
        super().__init__(str(self.finding))


class TableRow(msgspec.Struct):
    """What is checked of a row of a worker's table; the other fields are compared with the log, whatever they are."""

    product_id: str
    sales: int
    lost_sales: int = 0


class TablePage(msgspec.Struct):
    """A worker's answer: some rows of the table, of which partitions it knows all, and where the next rows are."""

    inventory: list[dict[str, Any]]
    partitions: list[int]
    next: str | None = None


_read_page = msgspec.json.Decoder(TablePage).decode


@app.command(
    option("--table", "urls", multiple=True, metavar="URL", help="Also check a running worker's table; repeatable."),
    option("--json", "as_json", is_flag=True, help="Print the report as JSON."),
    base=ShopCommand,
)
async def audit(self: ShopCommand, urls: tuple[str, ...], as_json: bool) -> int:
    """Check from the topics alone that the books balance, whether workers run or not.

    Checks that sales and lost sales have no gap and no duplicate, and took place during opening hours; that totals,
    costs and discounts are right to the cent; that every delivery came when it was due; that all stock levels are
    right; that no customer was turned away from a full shelf; and that incidents match the plan. With --table it also
    checks what workers show: name one, which asks the others, or several. The configuration must be that of the shop.

    Exit status: 0 the books balance, 1 there are findings, 2 the topics cannot be read.

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
    manifest, partitions = await _look()
    table = await read_table(urls)  # before the log, which has to hold all that the table shows
    async with AsyncExitStack() as readers:
        reader = await readers.enter_async_context(Reader(app.connection, manifest.producer_id))
        topics = await DividedTopics.now(reader, partitions)
        if await topics.are_by_others():
            report.by_content = True
            reader = await readers.enter_async_context(Reader(app.connection))
            topics = replace(topics, reader=reader, by_content=True)
        await _audit_products(reader, report)
        plan = await _audit_incidents(reader, manifest, report)
        substitutions = await topics.substitutions(plan, report)
        with Progress(topics.purchases, "Auditing", "Audited {} of {} purchases") as progress:
            for partition in range(partitions):
                deleted = await topics.deleted_in(partition)
                fold = PartitionAudit(TOPICS, partition, plan, partitions, report, table, substitutions, deleted)
                try:
                    await _audit_partition(topics, partition, fold, report, progress)
                except Damage as damage:
                    report.add(damage.finding)
                    substitutions.leave_out(partition)
        await _look_closer(topics, substitutions)
    return report


async def _look() -> tuple[ShopManifest, int]:
    """Return the manifest of the shop, and into how many partitions it is divided."""
    async with administration(app.connection) as admin:
        existing = set(await admin.list_topics())
        own = (*TOPICS, shop_topics.opening_topic(kafka), shop_topics.control_topic(kafka))
        missing = [name for name in own if name not in existing]
        if missing:
            raise AuditError(f"there is no topic {', '.join(missing)}. Has a worker opened the shop?")
        described = await admin.describe_topics([*DIVIDED])
    partitions = {len(description["partitions"]) for description in described}
    if len(partitions) != 1:
        raise AuditError("purchases, stockings, lost sales and dead letters differ in their number of partitions.")
    try:
        manifest = await find_shop(app.connection, kafka, existing, fingerprint_of(app.shop, app.products))
    except UnknownShopError:
        raise AuditError("the shop was never opened.") from None
    except ConfigurationChangedError as error:
        changes = "; ".join(error.changes)
        raise AuditError(f"the shop in the log was opened with another configuration: {changes}.") from None
    return manifest, partitions.pop()


async def _audit_products(reader: Reader, report: Report) -> None:
    try:
        products, _ = await _whole(reader, TOPICS.products, report)
    except Damage as damage:
        report.add(damage.finding)
        return
    read_products(products, TOPICS.products, report, app.products)


async def _audit_incidents(reader: Reader, manifest: ShopManifest, report: Report) -> Plan:
    """Audit the announcements; return the plan of the shop, with all that was said on its control topic."""
    announced: Sequence[Message] | None = None
    deleted = 0
    try:
        announced, deleted = await _whole(reader, TOPICS.incidents, report)
    except Damage as damage:
        report.add(damage.finding)
    plan = await _plan(reader, manifest, report)  # read last: what is set later concerns only what comes later
    if announced is not None:
        check_incidents(announced, plan, TOPICS.incidents, report, deleted)
    return plan


async def _plan(reader: Reader, manifest: ShopManifest, report: Report) -> Plan:
    """Return the plan of the shop, with all that was said on its control topic. Raises Damage: there is none then."""
    records, _ = await _whole(reader, CONTROL, report)
    said = read_control(records, manifest.clock, app.products)
    return Plan.of(app.shop, app.products, manifest.opened_at).with_control(said.live, said.gaps)


async def _whole(reader: Reader, topic: str, report: Report) -> tuple[list[Message], int]:
    """Return the shop's messages on a topic of one partition, in the default format, and how many of them were deleted.

    Raises Damage.
    """
    tp = TopicPartition(topic, 0)
    first, end = await reader.bounds(tp)
    deleted = await _deleted(reader, tp, first, report.by_content)
    if deleted is not None and deleted.number != 0:
        report.add(Finding("deleted", topic, 0, first, deleted.text))
    messages: list[Message] = []
    async with aclosing(_chunks(reader, tp, first, end)) as chunks:
        async for chunk in chunks:
            messages += chunk.messages
            report.foreign_in(topic).note(0, chunk.foreign)
    return messages, 0 if deleted is None else deleted.number or 0


async def _chunks(reader: Reader, tp: TopicPartition, start: int, end: int) -> AsyncGenerator[Chunk, None]:
    """Yield what a partition holds from one offset up to another, as the default format has it. Raises Damage."""
    position = start
    async with aclosing(reader.all_chunks(tp, start, end)) as chunks:  # type: ignore[type-var]
        while True:
            try:
                chunk = await anext(chunks, None)
            except DamagedLogError as error:
                raise Damage(tp, position) from error
            if chunk is None:
                return
            position = chunk.end
            yield replace(chunk, messages=await _plain(tp.topic, chunk.messages))


async def _plain(topic: str, messages: list[Message]) -> list[Message]:
    """Return messages as the default format has them; those that are in no format as they are."""
    what = next((name for name in TOPICS._fields if getattr(TOPICS, name) == topic), "")
    return messages if what in ("", "dead_letters") else list(await app.format.plain(what, messages))


async def _deleted(reader: Reader, tp: TopicPartition, first: int, by_content: bool) -> Deleted | None:
    """Return what was deleted at the beginning of a partition that begins with the offset `first`; None: nothing."""
    if not first:
        return None
    return Deleted(first, first if by_content else await reader.count_before(tp, first))


TimeOf = Callable[[Sequence[Message]], datetime]
"""Returns the latest event time among messages; BEGINNING_OF_TIME if there is none."""


@dataclass(frozen=True, slots=True)
class DividedTopics:
    """The topics that are divided into partitions, as they were at one moment.

    Attributes
    ----------
    reader
        Of the shop's messages.
    by_content
        Whether it reads those of every producer.
    """

    reader: Reader
    partitions: int
    firsts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    by_content: bool = False

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
        """Number of purchases, or more."""
        own = (TopicPartition(TOPICS.purchases, partition) for partition in range(self.partitions))
        return sum(self.ends[tp] - self.firsts[tp] for tp in own)

    def end(self, topic: str, partition: int) -> tuple[TopicPartition, int]:
        """Return a partition, and where it ends."""
        tp = TopicPartition(topic, partition)
        return tp, self.ends[tp]

    async def are_by_others(self) -> bool:
        """Tell whether there are messages, and not one batch says that the shop wrote it: a copy under another id."""
        there = False
        for tp, end in self.ends.items():
            try:
                async with aclosing(self.reader.all_chunks(tp, self.firsts[tp], end)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        if chunk.count is not None:
                            return False
                        there = there or bool(chunk.foreign)
            except DamagedLogError:
                continue  # it is found again when the partition is audited
        return there

    async def deleted_in(self, partition: int) -> dict[str, Deleted]:
        """Return what was deleted at the beginning of a partition, by topic."""
        deleted = {}
        for topic in DIVIDED:
            tp = TopicPartition(topic, partition)
            what = await _deleted(self.reader, tp, self.firsts[tp], self.by_content)
            if what is not None:
                deleted[topic] = what
        return deleted

    def chunks(self, topic: str, partition: int) -> AsyncGenerator[Chunk, None]:
        """Yield what a partition holds, as the default format has it. Raises Damage."""
        tp, end = self.end(topic, partition)
        return _chunks(self.reader, tp, self.firsts[tp], end)

    async def substitutions(self, plan: Plan, report: Report) -> Substitutions:
        """Return what compares the substitutions of all partitions, as far as these are known."""
        return Substitutions(
            TOPICS,
            plan,
            {product.product_id: home(product.product_id, self.partitions) for product in app.products},
            report,
            sold_until=await self._latest(TOPICS.purchases, last_sale),
            lost_until=await self._latest(TOPICS.lost_sales, last_lost_sale),
            sold_since=await self._earliest(TOPICS.purchases, last_sale),
            lost_since=await self._earliest(TOPICS.lost_sales, last_lost_sale),
        )

    async def _latest(self, topic: str, time_of: TimeOf) -> dict[int, datetime]:
        """Return the event time of the shop's last messages in each partition of a topic."""
        return {partition: await self._last_time(topic, partition, time_of) for partition in range(self.partitions)}

    async def _last_time(self, topic: str, partition: int, time_of: TimeOf) -> datetime:
        # The last offsets may be markers of transactions, or others' messages.
        tp, end = self.end(topic, partition)
        for start, stop in stretches_back(self.firsts[tp], end, LAST_OFFSETS):
            try:
                async with aclosing(_chunks(self.reader, tp, start, stop)) as chunks:
                    latest = max([time_of(chunk.messages) async for chunk in chunks], default=BEGINNING_OF_TIME)
            except Damage:
                return BEGINNING_OF_TIME
            if latest != BEGINNING_OF_TIME:
                return latest
        return BEGINNING_OF_TIME

    async def _earliest(self, topic: str, time_of: TimeOf) -> dict[int, datetime]:
        """Return the event time of the shop's first message in each partition whose beginning was deleted."""
        earliest = {}
        for partition in range(self.partitions):
            if not self.firsts[TopicPartition(topic, partition)]:
                continue
            try:
                async with aclosing(self.chunks(topic, partition)) as chunks:
                    async for chunk in chunks:
                        times = [time_of([message]) for message in chunk.messages]
                        readable = [at for at in times if at != BEGINNING_OF_TIME]
                        if readable:
                            earliest[partition] = readable[0]
                            break
            except Damage:
                continue
        return earliest


async def _audit_partition(
    topics: DividedTopics, partition: int, fold: PartitionAudit, report: Report, progress: Progress
) -> None:
    """Audit a partition, its topics side by side; wait a little for what running workers have still to tell.

    Raises Damage.
    """
    async with AsyncExitStack() as opened:
        purchases, more_lost = [
            await opened.enter_async_context(aclosing(_counted(topics, topic, partition, report)))
            for topic in (TOPICS.purchases, TOPICS.lost_sales)
        ]
        more_stockings, more_letters = [
            await opened.enter_async_context(aclosing(_own(_counted(topics, topic, partition, report))))
            for topic in (TOPICS.stockings, TOPICS.dead_letters)
        ]
        async for chunk in purchases:
            sales = fold.read(chunk.messages)
            while fold.wants_stockings(sales):
                fold.stockings(await anext(more_stockings, []))
            while fold.wants_lost_sales(sales):
                fold.lost_sales(await anext(more_lost, None))
            fold.purchases(chunk, sales)
            while fold.wants_letters:
                fold.dead_letters(await anext(more_letters, []))
            progress.advance(chunk.end - chunk.begin)
        async for rest in more_stockings:
            fold.stockings(rest)
        async for lost in more_lost:
            fold.lost_sales(lost)
        async for rest in more_letters:
            fold.dead_letters(rest)
    await _wait_for_late(topics, partition, fold)
    fold.close()


async def _counted(topics: DividedTopics, topic: str, partition: int, report: Report) -> AsyncGenerator[Chunk, None]:
    """Yield what a partition holds, and count what other producers wrote. Raises Damage."""
    foreign = report.foreign_in(topic)
    async with aclosing(topics.chunks(topic, partition)) as chunks:
        async for chunk in chunks:
            if chunk.foreign:
                foreign.note(partition, chunk.foreign)
            yield chunk


async def _own(chunks: AsyncGenerator[Chunk, None]) -> AsyncGenerator[list[Message], None]:
    """Yield the shop's messages alone; none of the lists is empty."""
    async with aclosing(chunks):
        async for chunk in chunks:
            if chunk.messages:
                yield chunk.messages


async def _wait_for_late(topics: DividedTopics, partition: int, fold: PartitionAudit) -> None:
    deadline = time.monotonic() + PATIENCE
    stockings, stocking_position = topics.end(TOPICS.stockings, partition)
    letters, letter_position = topics.end(TOPICS.dead_letters, partition)
    while fold.owes and time.monotonic() < deadline:
        late, stocking_position = await _fetch(topics.reader, stockings, stocking_position)
        fold.late_stockings(await _plain(TOPICS.stockings, late))
        late, letter_position = await _fetch(topics.reader, letters, letter_position)
        fold.late_letters(late)


async def _fetch(reader: Reader, tp: TopicPartition, position: int) -> tuple[list[Message], int]:
    try:
        return await reader.fetch(tp, position)
    except DamagedLogError as error:
        raise Damage(tp, position) from error


async def _look_closer(topics: DividedTopics, substitutions: Substitutions) -> None:
    """Read once more the messages of pairs of products whose substitutions do not come out even."""
    for pair in substitutions.mismatches():
        investigator = substitutions.investigator(pair)
        async with aclosing(topics.chunks(TOPICS.lost_sales, investigator.asked)) as chunks:
            async for chunk in chunks:
                investigator.lost_sales(chunk.messages)
        async with aclosing(topics.chunks(TOPICS.purchases, investigator.taken)) as chunks:
            async for chunk in chunks:
                investigator.purchases(chunk.messages)
        investigator.close()


async def read_table(urls: Sequence[str]) -> dict[str, Any]:
    """Return the rows of the running workers' table by product_id, from the first worker that knows of all of them."""
    rows: dict[str, Any] = {}
    shown: set[int] = set()
    token = app.shop.web.token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession(timeout=REQUEST, headers=headers) as session:
        for url in urls:
            in_all_parts = set(range(kafka.partitions)) - shown
            path: str | None = f"{ROWS_PATH}limit={ROWS}"
            asked: set[str] = set()
            while path and in_all_parts and path not in asked:
                asked.add(path)
                status, body = await _get(session, url.rstrip("/") + path)
                if status != 200:
                    raise AuditError(f"{url} answers with status {status}: {printable(body.decode(errors='replace'))}")
                page, its_rows = table_page(url, body)
                rows |= its_rows
                in_all_parts &= set(page.partitions)
                path = page.next if its_rows else None
            shown |= in_all_parts
    if urls and len(shown) < kafka.partitions:
        partitions = ", ".join(str(each) for each in range(kafka.partitions) if each not in shown)
        raise AuditError(f"{urls[-1]} cannot tell now of partitions {partitions} of the table. Try again in a moment.")
    return rows


def table_page(url: str, body: bytes) -> tuple[TablePage, dict[str, dict[str, Any]]]:
    """Return a worker's answer, and its rows by product_id. Raises AuditError if it is not one."""
    try:
        page = decoded(_read_page, body)
        # The rest of the table is asked for with our token: at the same address, and nowhere else.
        if page.next is not None and not page.next.startswith(ROWS_PATH):
            raise AuditError(f"{url} is not a worker's: its next rows are at {printable(page.next)}")
        return page, {msgspec.convert(row, TableRow).product_id: row for row in page.inventory}
    except (UnreadableError, msgspec.ValidationError) as error:
        raise AuditError(f"{url} is not a worker's: {printable(str(error))}") from error


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, bytes]:
    try:
        async with session.get(url, allow_redirects=False) as response:
            return response.status, await response.read()
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
    for topic, foreign in report.foreign.items():
        if foreign.count:
            print(f"{topic}: {_foreign_text(topic, foreign)} ({foreign.places_text})")
    if report.by_content:
        print(
            "No batch of purchases, lost sales, restocks or dead letters says that this shop wrote it, as in a copy by "
            "another tool: the audit goes by content, and cannot tell the shop's messages from others."
        )
    if report.balanced:
        print("The books balance.")
        return
    print("The books do not balance: " + ", ".join(f"{count} × {kind}" for kind, count in report.kinds.items()))
    for finding in report.findings[:MOST_SHOWN]:
        print(f"    {finding}")
    if len(report.findings) > MOST_SHOWN:
        print(f"    … the first {MOST_SHOWN} of {sum(report.kinds.values())}; --json shows {len(report.findings)}")


def _foreign_text(topic: str, foreign: Foreign) -> str:
    what = f"{foreign.count} message{'s' * (foreign.count > 1)} of other producers"
    if topic not in PUT_ASIDE:
        return f"{what} {'were' if foreign.count > 1 else 'was'} ignored"
    part = "all" if foreign.put_aside == foreign.count else str(foreign.put_aside)
    return f"{what}, {part} of them in the dead letters"
