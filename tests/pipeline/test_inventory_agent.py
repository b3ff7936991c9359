"""What the agent does with purchases, lost sales and foreign messages, in which order, and after a conflict."""

from typing import Any

import orjson
import pytest
from aiokafka.errors import CorruptRecordException, RequestTimedOutError
from support.memory_cluster import MemoryProducer
from support.memory_worker import MemoryWorker

from yasdg_app.config.settings import InventorySettings, KafkaSettings, Settings
from yasdg_app.kafka.producer import ProducerRecord
from yasdg_app.pipeline import inventory_agent

KAFKA = KafkaSettings(partitions=1)
PURCHASES, LOST_SALES, STOCKINGS = KAFKA.topic_purchases, KAFKA.topic_lost_sales, KAFKA.topic_stockings
DEAD_LETTERS = KAFKA.topic_dead_letters
SETTINGS = Settings(kafka=KAFKA, inventory=InventorySettings(min_inventory=5, restock_amount=10))
PRODUCT, INVENTORY = "XX01", 7  # see small_shops


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> MemoryWorker:
    monkeypatch.setattr(inventory_agent, "RELOAD_AFTER_SECONDS", 0.0)
    worker = MemoryWorker(SETTINGS)
    await worker.start()
    return worker


def sale(number: int, quantity: int = 1) -> ProducerRecord:
    """A purchase of the product."""
    value = {
        "transaction_time": f"2026-01-01 00:00:{number:02d}.000000", "transaction_id": f"{PRODUCT}-{number:06d}",
        "product_id": PRODUCT, "price": 5.0, "quantity": quantity, "is_member": False, "member_discount": 0.0,
        "add_supplements": False, "supplement_price": 0.0, "total_purchase": 5.0 * quantity,
    }  # fmt: skip
    return ProducerRecord(PRODUCT.encode(), orjson.dumps(value), 0)


async def append(worker: MemoryWorker, *records: ProducerRecord) -> None:
    """Append the next purchases, as the worker's generator does."""
    before = await worker.shop.own_reader.count(inventory_agent.TP(PURCHASES, 0))
    assert (await worker.shop.producer.append(PURCHASES, 0, before, records)).complete


def level(worker: MemoryWorker) -> Any:
    return worker.pipeline.inventory.level_of(PRODUCT)


async def test_a_restock_is_published_when_a_level_falls_to_the_minimum(worker: MemoryWorker) -> None:
    await append(worker, sale(1))
    await worker.apply(PURCHASES)
    assert (level(worker).level, worker.values(STOCKINGS)) == (6, [])
    await append(worker, sale(2))
    await worker.apply(PURCHASES)
    (restock,) = worker.values(STOCKINGS)
    assert (restock["product_id"], restock["event_time"]) == (PRODUCT, "2026-01-01 00:00:02.000000")
    assert (level(worker).level, level(worker).stockings, worker.shop.counts["restocks"]) == (15, 1, 1)


async def test_restocks_are_appended_before_the_changelog_and_positions_follow_it(worker: MemoryWorker) -> None:
    await append(worker, sale(1, 2))
    worker.cluster.append_foreign(PURCHASES, b"junk")
    at_append = dict[str, int]()
    worker.cluster.before_append = lambda tp: at_append.update({tp.topic: worker.position(PURCHASES)})
    await worker.apply(PURCHASES)
    assert worker.cluster.appended[-3:] == [STOCKINGS, DEAD_LETTERS, worker.changelog]
    assert at_append == {STOCKINGS: 0, DEAD_LETTERS: 0, worker.changelog: 0}
    assert worker.position(PURCHASES) == 2


async def test_a_foreign_message_becomes_a_dead_letter_and_the_agent_continues(worker: MemoryWorker) -> None:
    worker.cluster.append_foreign(PURCHASES, b"not one of ours")
    await append(worker, sale(1))
    worker.cluster.append_foreign(PURCHASES, sale(2).value or b"")  # what it says does not matter
    await append(worker, sale(2))
    await worker.apply(PURCHASES)
    letters = worker.cluster.messages(DEAD_LETTERS)
    assert [(dict(each.headers)["offset"], each.value) for each in letters] == [
        (b"0", b"not one of ours"), (b"2", sale(2).value),
    ]  # fmt: skip
    assert (level(worker).sales, worker.position(PURCHASES), worker.life.crashes) == (2, 4, [])
    await worker.apply(PURCHASES)
    assert worker.shop.counts["dead_letters"] == len(worker.cluster.messages(DEAD_LETTERS)) == 2


async def test_lost_sales_are_counted_and_change_no_level(worker: MemoryWorker) -> None:
    value = {
        "event_time": "2026-01-01 00:00:01.000000", "lost_sale_id": f"{PRODUCT}-L000001", "product_id": PRODUCT,
        "quantity": 2, "value": 10.0, "reason": "not_enough", "level": 1, "promised": None, "delayed_by": None,
        "substitute": None,
    }  # fmt: skip
    await worker.shop.producer.append(LOST_SALES, 0, 0, [ProducerRecord(PRODUCT.encode(), orjson.dumps(value), 0)])
    await worker.apply(LOST_SALES)
    assert worker.cluster.messages(DEAD_LETTERS) == []
    assert (level(worker).lost_sales, level(worker).level, worker.position(LOST_SALES)) == (1, INVENTORY, 1)


@pytest.mark.parametrize("times", [1, 3])
async def test_without_an_answer_to_the_changelog_no_position_is_acknowledged(worker: MemoryWorker, times: int) -> None:
    await append(worker, sale(1, 2))
    left = times

    def refuse(tp: Any) -> None:
        nonlocal left
        if tp.topic == worker.changelog and left:
            left -= 1
            raise RequestTimedOutError

    worker.cluster.before_append = refuse
    for _ in range(times):
        await worker.apply(PURCHASES)
        assert (level(worker), worker.position(PURCHASES)) == (None, 0)
        assert worker.member.sought[-1][inventory_agent.TP(PURCHASES, 0)] == 0
    await worker.apply(PURCHASES)
    assert (level(worker).sales, worker.position(PURCHASES)) == (1, 1)
    assert len(worker.values(STOCKINGS)) == 1  # published before, and not a second time
    assert (worker.shop.counts["overtaken"], worker.life.crashes) == (0, [])


async def test_a_conflict_of_the_producer_reloads_the_state(worker: MemoryWorker) -> None:
    other = MemoryWorker(SETTINGS, worker.cluster)  # has taken over the partition, and applies the same chunk
    await other.start()
    await append(worker, sale(1, 2))
    await append(worker, sale(2))
    await other.apply(PURCHASES)
    before = worker.pipeline.assignment.published
    await worker.apply(PURCHASES)
    assert worker.shop.counts["overtaken"] == 1
    assert worker.pipeline.assignment.published is not before
    assert worker.pipeline.assignment.is_active
    assert (level(worker), worker.position(PURCHASES)) == (level(other), 2)
    assert len(worker.values(STOCKINGS)) == 1
    await append(worker, sale(3))
    await worker.apply(PURCHASES)
    assert (level(worker).sales, worker.life.crashes) == (3, [])


async def test_a_chunk_of_an_earlier_generation_is_left_to_its_new_owner(worker: MemoryWorker) -> None:
    await append(worker, sale(1))
    worker.member.rebalancing = True
    await worker.apply(PURCHASES)
    assert (level(worker), worker.position(PURCHASES), worker.cluster.appended) == (None, 0, [PURCHASES])
    worker.member.rebalancing = False
    await worker.apply(PURCHASES)
    assert level(worker).sales == 1


async def test_a_sale_that_is_missing_ends_the_worker(worker: MemoryWorker) -> None:
    await append(worker, sale(2))
    await worker.apply(PURCHASES)
    (error,) = worker.life.crashes
    assert PRODUCT in str(error)
    assert worker.position(PURCHASES) == 0


async def test_an_answer_that_no_retry_changes_ends_the_worker(worker: MemoryWorker) -> None:
    await append(worker, sale(1))

    def refuse(tp: Any) -> None:
        raise CorruptRecordException

    worker.cluster.before_append = refuse
    await worker.apply(PURCHASES)
    assert len(worker.life.crashes) == 1


async def test_a_name_that_is_gone_ends_the_worker(worker: MemoryWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    await append(worker, sale(1, 2))
    monkeypatch.delattr(MemoryProducer, "_produce")
    monkeypatch.setattr("yasdg_app.kafka.producer.ProduceRequest", None)
    await worker.apply(PURCHASES)
    (error,) = worker.life.crashes
    assert isinstance(error, TypeError)
