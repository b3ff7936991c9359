"""The audit of a shop in a cluster: reads its topics, partition by partition, and passes them to the checks."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from yasdg_app.audit.account import Topics
from yasdg_app.audit.incident_events import check_incidents
from yasdg_app.audit.partition import PartitionAudit
from yasdg_app.audit.partitioned_topics import DamagedTopicError, LogReader, PartitionedTopics
from yasdg_app.audit.products_topic import check_products
from yasdg_app.audit.report import AuditError, AuditReport
from yasdg_app.audit.substitutions import Substitutions
from yasdg_app.audit.worker_tables import read_table
from yasdg_app.cluster_state.control_records import read_control
from yasdg_app.cluster_state.manifest import ConfigurationChangedError, ShopManifest, UnknownShopError, find_shop
from yasdg_app.config.catalog import Product
from yasdg_app.config.fingerprint import fingerprint_of
from yasdg_app.config.settings import Settings
from yasdg_app.kafka import topics as shop_topics
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.client import administration
from yasdg_app.kafka.reader import Message, Reader
from yasdg_app.messages.formats import Format
from yasdg_app.shop.plan import Plan

LATE_SECONDS = 5.0  # to wait for running workers to write the restocks and dead letters of the last sales


class Advance(Protocol):
    """Shows the progress of an audit."""

    def advance(self, count: int) -> None:
        """Add a number of audited purchases."""


ShowProgress = Callable[[int], AbstractContextManager[Advance]]
"""Starts to show progress; takes the total number of purchases."""


@dataclass(frozen=True, slots=True)
class ShopAudit:
    """The configuration of an audit, and the connection to the cluster.

    Attributes
    ----------
    settings, products
        The configuration, which must be that of the shop in the cluster.
    connection
        Connection to the cluster.
    message_format
        Format of the messages on the topics.
    """

    settings: Settings
    products: tuple[Product, ...]
    connection: Connection
    message_format: Format

    @property
    def topics(self) -> Topics:
        """Names of the topics."""
        return Topics.of(self.settings.kafka)

    async def run(self, urls: Sequence[str], show_progress: ShowProgress) -> AuditReport:
        """Audit the topics as they are now, and the tables of running workers at `urls`.

        Raises AuditError if the shop was not opened or has another configuration, DamagedTopicError if the control
        topic cannot be read, and KafkaError.
        """
        report = AuditReport()
        manifest, partitions = await self._find_shop()
        # Before the log, which must contain everything that the table shows.
        table = await read_table(urls, self.settings.kafka.partitions, self.settings.web.token)
        async with AsyncExitStack() as readers:
            reader = await readers.enter_async_context(Reader(self.connection, manifest.producer_id))
            topics = await PartitionedTopics.now(LogReader(reader, self.topics, self.message_format), partitions)
            if await topics.are_copies():
                report.by_content = True
                reader = await readers.enter_async_context(Reader(self.connection))
                topics = replace(topics, log=replace(topics.log, reader=reader, by_content=True))
            await self._audit_products(topics.log, report)
            plan = await self._audit_incidents(topics.log, manifest, report)
            substitutions = await topics.substitutions(plan, self.products, report)
            with show_progress(topics.purchases) as progress:
                for partition in range(partitions):
                    await self._audit_partition(topics, partition, plan, report, table, substitutions, progress)
            await _investigate(topics, substitutions)
        return report

    async def _find_shop(self) -> tuple[ShopManifest, int]:
        """Return the manifest of the shop, and the number of its partitions. Raises AuditError."""
        kafka, topics = self.settings.kafka, self.topics
        async with administration(self.connection) as admin:
            existing = set(await admin.list_topics())
            own = (*topics, shop_topics.opening_topic(kafka), shop_topics.control_topic(kafka))
            missing = [name for name in own if name not in existing]
            if missing:
                raise AuditError(f"topic not found: {', '.join(missing)}. Start a worker, which creates the topics.")
            described = await admin.describe_topics([*topics.partitioned])
        partitions = {len(description["partitions"]) for description in described}
        if len(partitions) != 1:
            raise AuditError(
                "the topics of purchases, stockings, lost sales and dead letters have different numbers of partitions."
            )
        fingerprint = fingerprint_of(self.settings, self.products)
        try:
            manifest = await find_shop(self.connection, kafka, existing, fingerprint)
        except UnknownShopError:
            raise AuditError("the shop was never opened.") from None
        except ConfigurationChangedError as error:
            changes = "; ".join(error.changes)
            raise AuditError(f"the shop in the log was opened with another configuration: {changes}.") from None
        return manifest, partitions.pop()

    async def _audit_products(self, log: LogReader, report: AuditReport) -> None:
        try:
            products, _ = await log.whole(self.topics.products, report)
        except DamagedTopicError as error:
            report.add(error.finding)
            return
        check_products(products, self.topics.products, report, self.products)

    async def _audit_incidents(self, log: LogReader, manifest: ShopManifest, report: AuditReport) -> Plan:
        """Audit the incidents topic; return the plan of the shop, with all changes from its control topic.

        Raises DamagedTopicError if the control topic cannot be read: then there is no plan.
        """
        announced: Sequence[Message] | None = None
        deleted = 0
        try:
            announced, deleted = await log.whole(self.topics.incidents, report)
        except DamagedTopicError as error:
            report.add(error.finding)
        # Read last: later changes affect only later event times.
        records, _ = await log.whole(shop_topics.control_topic(self.settings.kafka), report)
        state = read_control(records, manifest.clock, self.products)
        plan = Plan.of(self.settings, self.products, manifest.opened_at).with_control(state.live, state.gaps)
        if announced is not None:
            check_incidents(announced, plan, self.topics.incidents, report, deleted)
        return plan

    async def _audit_partition(
        self, topics: PartitionedTopics, partition: int, plan: Plan, report: AuditReport, table: dict[str, Any],
        substitutions: Substitutions, progress: Advance,
    ) -> None:  # fmt: skip
        deleted = await topics.deleted_in(partition)
        check = PartitionAudit(self.topics, partition, plan, topics.partitions, report, table, substitutions, deleted)
        try:
            await _read_partition(topics, partition, check, report, progress)
        except DamagedTopicError as error:
            report.add(error.finding)
            substitutions.leave_out(partition)


async def _read_partition(
    topics: PartitionedTopics, partition: int, check: PartitionAudit, report: AuditReport, progress: Advance
) -> None:
    """Read the topics of a partition in parallel, then wait briefly for what running workers still have to write.

    Raises DamagedTopicError.
    """
    names = topics.log.topics
    async with AsyncExitStack() as opened:
        purchases, lost_sales = [
            await opened.enter_async_context(aclosing(topics.counted_chunks(topic, partition, report)))
            for topic in (names.purchases, names.lost_sales)
        ]
        restocks, dead_letters = [
            await opened.enter_async_context(aclosing(topics.counted_messages(topic, partition, report)))
            for topic in (names.stockings, names.dead_letters)
        ]
        async for chunk in purchases:
            sales = check.read(chunk.messages)
            while check.wants_restocks(sales):
                check.restocks(await anext(restocks, []))
            while check.wants_lost_sales(sales):
                check.lost_sales(await anext(lost_sales, None))
            check.purchases(chunk, sales)
            while check.wants_dead_letters:
                check.dead_letters(await anext(dead_letters, []))
            progress.advance(chunk.end - chunk.begin)
        async for rest in restocks:
            check.restocks(rest)
        async for lost in lost_sales:
            check.lost_sales(lost)
        async for rest in dead_letters:
            check.dead_letters(rest)
    await _wait_for_late(topics, partition, check)
    check.close()


async def _wait_for_late(topics: PartitionedTopics, partition: int, check: PartitionAudit) -> None:
    deadline = time.monotonic() + LATE_SECONDS
    names = topics.log.topics
    restocks, restock_position = topics.end(names.stockings, partition)
    letters, letter_position = topics.end(names.dead_letters, partition)
    while check.expects_more and time.monotonic() < deadline:
        late, restock_position = await topics.log.fetch(restocks, restock_position)
        check.late_restocks(late)
        late, letter_position = await topics.log.fetch(letters, letter_position)
        check.late_dead_letters(late)


async def _investigate(topics: PartitionedTopics, substitutions: Substitutions) -> None:
    """Read the messages of mismatching pairs of products a second time."""
    names = topics.log.topics
    for pair in substitutions.mismatches():
        investigator = substitutions.investigator(pair)
        async with aclosing(topics.chunks(names.lost_sales, investigator.asked)) as chunks:
            async for chunk in chunks:
                investigator.lost_sales(chunk.messages)
        async with aclosing(topics.chunks(names.purchases, investigator.taken)) as chunks:
            async for chunk in chunks:
                investigator.purchases(chunk.messages)
        investigator.close()
