"""Workers that start at once publish each product once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from yasdg_app.cluster_state.product_topic import _published
from yasdg_app.config import catalog
from yasdg_app.messages.formats import Format

PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")


class SharedTopic:
    """An empty topic on which another worker publishes all products as soon as its end was read."""

    def __init__(self) -> None:
        self.appended = 0

    async def count(self, _: TopicPartition) -> int:
        return self.appended

    async def bounds(self, _: TopicPartition) -> tuple[int, int]:
        self.appended, end = len(PRODUCTS), self.appended
        return 0, end

    async def all_chunks(self, _: TopicPartition, first: int, end: int, **__: Any) -> AsyncIterator[Any]:
        assert (first, end) == (0, 0)
        for nothing in ():
            yield nothing


async def test_what_another_worker_appends_meanwhile_is_not_counted() -> None:
    """Otherwise the broker would accept all of them a second time."""
    reader: Any = SharedTopic()
    base_sequence, published = await _published(reader, TopicPartition("products", 0), PRODUCTS, Format())
    assert (base_sequence, any(published), reader.appended) == (0, False, len(PRODUCTS))
