"""Reading partitions from an offset to what is their end now. Must not know what stands in them."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition


class Reader:
    """A consumer of some partitions and of no group, to be used with `async with`: whoever reads changes nothing."""

    def __init__(self, bootstrap_servers: str, tps: Iterable[TopicPartition], **settings: Any) -> None:
        self._tps = list(tps)
        self.consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", **settings)

    async def __aenter__(self) -> "Reader":
        try:
            await self.consumer.start()
            self.consumer.assign(self._tps)  # without an assignment it cannot be stopped (aiokafka 0.14)
        except BaseException:
            await self.consumer.stop()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.consumer.stop()

    async def firsts(self) -> dict[TopicPartition, int]:
        """Return the offsets of the first records."""
        firsts: dict[TopicPartition, int] = await self.consumer.beginning_offsets(self._tps)
        return firsts

    async def ends(self) -> dict[TopicPartition, int]:
        """Return the offsets behind the last records."""
        ends: dict[TopicPartition, int] = await self.consumer.end_offsets(self._tps)
        return ends

    async def read(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return the records from the given offsets on; those that were deleted meanwhile are left out."""
        records: dict[TopicPartition, list[ConsumerRecord]] = {tp: [] for tp in starts}
        firsts, ends = await self.firsts(), await self.ends()
        for tp, start in starts.items():
            self.consumer.seek(tp, max(start, firsts[tp]))
        while behind := [tp for tp in starts if await self.consumer.position(tp) < ends[tp]]:
            for tp, batch in (await self.consumer.getmany(*behind, timeout_ms=1000)).items():
                records[tp] += batch
        return records


async def read_all(bootstrap_servers: str, topic: str) -> list[ConsumerRecord]:
    """Return all records of a topic of one partition."""
    tp = TopicPartition(topic, 0)
    async with Reader(bootstrap_servers, [tp]) as reader:
        return (await reader.read({tp: 0}))[tp]
