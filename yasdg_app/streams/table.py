"""A Faust table that reads its changelog itself, a chunk at a time, and writes it as the one producer of the shop.

The changelog is written before the table: what the table shows is in the log, and a worker that lost its partitions can
change neither. Faust's own way is slower by two orders of magnitude, may lose what it fetched in the middle of a
rebalance, and writes the changelog behind the table, through a producer that nothing holds back.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import faust
import orjson
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from yasdg_app.producer import Row


class ChunkedTable(faust.Table[bytes, Any]):
    """A table in memory. `recover` brings it up to date with its changelog, and `write` alone changes it."""

    app: Any  # ours, which has the shop's producer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._through: dict[int, int] = {}  # offset behind what is known of the changelog, by partition we hold

    async def recover(self, partitions: Collection[int]) -> None:
        """Hold these partitions and no others, each as its changelog has it now."""
        store: Any = self.data
        for partition in self._through.keys() - set(partitions):
            del self._through[partition]
            for key in [key for key, where in store._key_partition.items() if where == partition]:
                del store.data[key], store._key_partition[key]
        tps = [TP(self.changelog_topic.get_topic_name(), partition) for partition in sorted(partitions)]
        firsts, ends = await self.app.reader.firsts(tps), await self.app.reader.ends(tps)
        model: Any = self.value_type
        for tp in tps:
            async for chunk in self.app.reader.chunks(tp, self._through.get(tp.partition, firsts[tp]), ends[tp]):
                for record in chunk:
                    self._put(tp.partition, record.key, model(**_fields(record.value)))
            self._through[tp.partition] = ends[tp]

    async def write(self, partition: int, rows: Mapping[bytes, Any], allowed: Callable[[], bool]) -> bool:
        """Write records (a model by key, in order) to the changelog and then into the table; False if it may not.

        Raises OutOfDateError if the table has to be recovered first.
        """
        if not allowed():
            return False  # the partition may be another worker's by now
        now = time.time_ns() // 1_000_000
        changes = [Row(key, orjson.dumps(value.asdict()), now) for key, value in rows.items()]
        number = self._through[partition]
        topic = self.changelog_topic.get_topic_name()
        appended = await self.app.shop_producer.append(topic, partition, number, changes, allowed, as_one=True)
        if not appended.complete or not allowed():
            return False  # what the log has of it comes back with the next recovery
        self._through[partition] = number + len(changes)
        for key, value in rows.items():
            self._put(partition, key, value)
        return True

    def _put(self, partition: int, key: bytes, value: Any) -> None:
        store: Any = self.data
        store.data[key] = value
        store._key_partition[key] = partition


class _NoRecovery(Recovery):
    """Faust's recovery, which has nothing to read, and must not wait for a partition that has no leader."""

    def need_recovery(self) -> bool:
        return False

    async def _build_highwaters(self, *args: Any, **kwargs: Any) -> None: ...
    async def _build_offsets(self, *args: Any, **kwargs: Any) -> None: ...
    async def _seek_offsets(self, *args: Any, **kwargs: Any) -> None: ...


class ChunkedTableManager(TableManager):
    """Faust's table manager for tables that recover themselves."""

    @property
    def recovery(self) -> Recovery:
        """Return the service that goes through Faust's steps after a rebalance."""
        if self._recovery is None:
            self._recovery = _NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery


def _fields(value: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(value)
    fields.pop("__faust", None)  # in records that Faust itself wrote
    return fields
