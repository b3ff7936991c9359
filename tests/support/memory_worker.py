"""A worker without a process: its pipeline on a cluster in memory, of which a test runs one step at a time."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import orjson
from faust.types import TP

from support.fakes import OPENED_AT, Life, Member, open_shop
from support.memory_cluster import MemoryCluster, MemoryProducer, MemoryReader
from support.small_shops import PRODUCTS
from yasdg_app.cluster_state.control_topic import ControlTopic
from yasdg_app.cluster_state.running_shop import OpenedShop
from yasdg_app.config.settings import Settings
from yasdg_app.faust_runtime.fetched_batches import FetchedBatch
from yasdg_app.faust_runtime.shop_app import ShopApp
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.kafka import topics
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.pipeline.pipeline import Pipeline
from yasdg_app.shop.clock import Clock

SECOND = 1_000_000


class DeliveredOnce:
    """A stream of one event."""

    def __init__(self, batch: FetchedBatch) -> None:
        self._batch = batch

    async def events(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(value=self._batch)


class MemoryWorker:
    """A worker that has all partitions. `at`: its time, microseconds since 1970; the shop opened at OPENED_AT."""

    def __init__(self, settings: Settings, cluster: MemoryCluster | None = None) -> None:
        self.cluster = cluster or MemoryCluster()
        self.at = OPENED_AT
        self.life, self.member = Life(), Member()
        shop = self.shop = open_shop(settings, PRODUCTS)
        self.kafka = settings.kafka
        producer, own_reader = (
            MemoryProducer(shop.connection, self.cluster),
            MemoryReader(shop.connection, self.cluster),
        )

        async def last_sold() -> int | None:
            return None

        clock = Clock(OPENED_AT, OPENED_AT)
        control = ControlTopic(topics.control_topic(self.kafka), clock, PRODUCTS, own_reader, producer, last_sold)
        manifest: Any = shop.manifest
        shop._opened = OpenedShop(
            manifest, control, producer, MemoryReader(shop.connection, self.cluster, None), own_reader
        )  # fmt: skip
        app: Any = ShopApp(shop)
        table = app.Table(
            "inventory", partitions=self.kafka.partitions, key_type=bytes, value_type=InventoryLevel, shop=shop,
            catalog=PartitionedCatalog.of(PRODUCTS, self.kafka.partitions),
        )  # fmt: skip
        table.assigned_partitions = lambda: list(range(self.kafka.partitions))
        self.changelog: str = table.changelog_topic.get_topic_name()
        self.pipeline = Pipeline.of(shop, self.life, self.member, table, lambda: self.at)
        self.pipeline.sales.jumps = SimpleNamespace(is_steady=lambda at: True, reason="")  # type: ignore[assignment]

    async def start(self) -> None:
        """Have all partitions assigned, and restore their state."""
        self.member.consumer_generation_id += 1
        self.pipeline.assignment.assigned = self.member.consumer_generation_id
        await self.pipeline.restorer.restore()
        assert not self.life.crashes

    async def sell(self, seconds: float = 0) -> None:
        """Let time pass, and produce the sales that are due."""
        self.at += int(seconds * SECOND)
        await self.pipeline.sales.run_round(self.at)

    async def apply(self, topic: str, partition: int = 0) -> None:
        """Have the agent process what a log has after its position."""
        tp = TP(topic, partition)
        chunk = await self.shop.own_reader.fetch_chunk(tp, self.position(topic, partition))
        await self.pipeline.agent.run(DeliveredOnce(FetchedBatch([chunk], self.member.consumer_generation_id)))
        while self.pipeline.assignment.is_busy(partition):
            await asyncio.sleep(0.001)

    async def apply_all(self) -> None:
        """Have the agent process what the logs have."""
        for partition in range(self.kafka.partitions):
            await self.apply(self.kafka.topic_lost_sales, partition)
            await self.apply(self.kafka.topic_purchases, partition)

    def position(self, topic: str, partition: int = 0) -> int:
        """The next offset of a log to process."""
        return self.pipeline.assignment.positions[TP(topic, partition)]

    def values(self, topic: str, partition: int = 0) -> list[Any]:
        """The contents of a log of JSON."""
        return [orjson.loads(message.value or b"null") for message in self.cluster.messages(topic, partition)]
