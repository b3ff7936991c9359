"""A Faust table whose changelog is read a chunk at a time, and written by the one producer of the shop.

The changelog is written before the table: what the table shows is in the log, and a worker that lost its partitions can
change neither. (Faust's own writes it behind, through a producer that nothing holds back.)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import faust
import orjson
from faust.types import EventT

from yasdg_app.producer import Row
from yasdg_app.streams.transport import Chunks


class ChunkedTable(faust.Table[bytes, Any]):
    """A table in memory. Its agent changes it by `write` alone."""

    app: Any  # ours, which has the shop's producer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._written: dict[int, int] = {}  # offset behind what is known of the changelog, by partition

    def _new_changelog_topic(self, **kwargs: Any) -> Any:
        topic = super()._new_changelog_topic(**kwargs)
        topic.schema = Chunks()
        return topic

    def apply_changelog_batch(self, batch: Iterable[EventT[Any]]) -> None:
        """Put the records of recovered chunks into the table."""
        model: Any = self.value_type
        for event in batch:
            records: Sequence[Any] = event.value
            for record in records:
                self._put(record.partition, record.key, model(**_fields(record.value)))
            self._written[event.message.partition] = records[-1].offset + 1

    async def write(
        self, partition: int, rows: Mapping[bytes, Any], timestamp: int, allowed: Callable[[], bool]
    ) -> bool:
        """Write records (a model by key, in order) to the changelog and then into the table; False if it may not.

        `timestamp` is the changelog's, in milliseconds. Raises OvertakenError if another worker has written meanwhile.
        """
        changes = [Row(key, orjson.dumps(value.asdict()), timestamp) for key, value in rows.items()]
        number = self._written.get(partition, 0)
        topic = self.changelog_topic.get_topic_name()
        appended = await self.app.shop_producer.append(topic, partition, number, changes, allowed)
        if not appended.complete or not allowed():
            return False  # what the log has of it comes back with the next recovery
        self._written[partition] = number + len(changes)
        for key, value in rows.items():
            self._put(partition, key, value)
        return True

    def _put(self, partition: int, key: bytes, value: Any) -> None:
        store: Any = self.data
        store.data[key] = value
        store._key_partition[key] = partition  # so that Faust forgets it when the partition goes to another worker


def _fields(value: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(value)
    fields.pop("__faust", None)  # in records that Faust itself wrote
    return fields
