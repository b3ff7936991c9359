"""Sums and series are those of the sales, however the log is read, by whom, and whatever stands between them."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import Life, Member, open_shop
from support.properties import examples
from support.small_shops import BY_ID, DAY, HOUR, MINUTE, OPENED, PRODUCTS, SECOND

from yasdg_app.aggregates import backfill, windows
from yasdg_app.aggregates.backfill import take_uncounted
from yasdg_app.aggregates.minute_sums import KEPT_MINUTES
from yasdg_app.aggregates.partition_aggregates import MAX_LATEST
from yasdg_app.aggregates.windows import WINDOW_MINUTES, Windows
from yasdg_app.config.settings import KafkaSettings, SalesSettings, Settings
from yasdg_app.faust_runtime.partition_assignment import PartitionAssignment
from yasdg_app.faust_runtime.table import COLUMNS, PartitionStore, numbers_of
from yasdg_app.inventory import projection
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.inventory.projection import AppliedChunk, InventoryProjection, ProductRestock
from yasdg_app.messages.decoders import MAX_QUANTITY
from yasdg_app.messages.formats import Format, JsonFormat
from yasdg_app.messages.formats.errors import RegistryError
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.shelf import Restock

HOMES = [0, 1, 0, 1, 0, 0]
CATALOG = PartitionedCatalog(PRODUCTS, HOMES)
PROJECTION = InventoryProjection(CATALOG)
SALES = SalesSettings(quantities=(8, 1, 1))
SUPPLY = Plan.of(Settings(sales=SALES), PRODUCTS, OPENED).supply
TOPICS = "purchases", "lost_sales"
CATEGORIES = {product.category for product in PRODUCTS}
NOTHING = (0, 0, 0)
KAFKA = replace(KafkaSettings(), topic_stockings="stockings", topic_lost_sales=TOPICS[1], partitions=2)


@dataclass(frozen=True)
class Sale:
    at: int
    product_id: str
    number: int
    quantity: int
    cents: int

    @property
    def value(self) -> bytes:
        told = {
            "transaction_time": time_text(self.at),
            "product_id": self.product_id,
            "quantity": self.quantity,
            "total_purchase": self.cents / 100,
            "transaction_id": f"{self.product_id}-{self.number:06d}",
        }
        return json.dumps(told).encode()


def lost_sale(number: int, product_id: str = "SF02") -> bytes:
    told = {
        "event_time": time_text(OPENED + number * SECOND),
        "product_id": product_id,
        "quantity": 1,
        "value": 4.99,
        "substitute": None,
        "lost_sale_id": f"{product_id}-L{number:06d}",
    }
    return json.dumps(told).encode()


def restock(number: int, product_id: str = "SF02") -> dict[str, Any]:
    return {
        "event_time": time_text(OPENED + number * SECOND),
        "product_id": product_id,
        "existing_level": 3,
        "stock_quantity": 15,
        "new_level": 18,
        "stocking_id": f"{product_id}-R{number:06d}",
    }


class Logs:
    """The logs of all partitions, and a reader of them, from which `lacking` messages are deleted."""

    def __init__(self) -> None:
        self.values: dict[TP, list[bytes]] = defaultdict(list)
        self.lacking: dict[TP, int] = {}
        self.failures, self.failure = 0, Exception()

    def messages(self, tp: TP, start: int, end: int) -> list[Any]:
        return [
            SimpleNamespace(offset=offset, value=self.values[tp][offset], key=None, timestamp=0, headers=())
            for offset in range(max(start, self.lacking.get(tp, 0)), min(end, len(self.values[tp])))
        ]

    async def firsts(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: self.lacking.get(tp, 0) for tp in tps}

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: len(self.values[tp]) for tp in tps}

    async def chunks(self, tp: TP, start: int, end: int) -> AsyncIterator[list[Any]]:
        for begin in range(start, end, 20):
            await asyncio.sleep(0)
            if self.failures:
                self.failures -= 1
                raise self.failure
            yield self.messages(tp, begin, min(begin + 20, end))


@dataclass
class Worker:
    """What a worker has: a table, and windows that are fed with what is applied to it."""

    logs: Logs
    now: int = OPENED  # by the shop's clock
    rows: dict[int, PartitionStore] = field(default_factory=dict)
    generation: int = 0

    def __post_init__(self) -> None:
        clock = SimpleNamespace(at=lambda _: self.now)
        self.shop = open_shop(
            replace(Settings(), kafka=KAFKA, sales=SALES), own_reader=self.logs,
            manifest=SimpleNamespace(opened_at=OPENED, clock=clock),
        )  # fmt: skip
        self.shop.format = Format()
        self.life, self.member = Life(), Member()
        assignment = PartitionAssignment(self.member, TOPICS, {})
        self.windows = Windows(
            self.shop, self.life, assignment, CATALOG, lambda partition: self.rows.get(partition, PartitionStore(()))
        )

    async def done(self) -> None:
        if self.life.tasks:
            await self.life.tasks[-1]

    def take_over(self, rows: dict[int, PartitionStore], lost: int = 0) -> None:
        """Begin a generation with what the changelogs hold."""
        self.generation += 1
        self.member.consumer_generation_id = self.generation
        self.rows = rows
        applied = {TP(TOPICS[0], p): int(own.column("offset").max(initial=-1)) + 1 for p, own in rows.items()}
        self.windows.activate(self.generation, applied | {TP(TOPICS[1], p): lost for p in rows})

    def project(self, partition: int, chunk: Sequence[Any]) -> AppliedChunk:
        def level_of(product_id: str) -> Any:
            return self.rows[partition].get(CATALOG.local_index_of(product_id))

        return PROJECTION.apply_sales(TP(TOPICS[0], partition), chunk, level_of, SUPPLY)

    def apply(self, partition: int, chunk: Sequence[Any], is_written: bool = True) -> None:
        applied = self.project(partition, chunk)
        contribution = self.windows.prepare(partition, applied)
        if is_written:
            self.write(partition, applied)
            self.windows.add(partition, applied, contribution)

    def write(self, partition: int, applied: AppliedChunk) -> None:
        local_indexes = [CATALOG.local_index_of(level.product_id) for level in applied.levels]
        self.rows[partition].put(local_indexes, numbers_of(applied.levels))


def copied(rows: PartitionStore) -> PartitionStore:
    copy = PartitionStore(rows._products)
    copy._numbers, copy._has_row = rows._numbers.copy(), rows._has_row.copy()
    return copy


def empty() -> dict[int, PartitionStore]:
    return {partition: PartitionStore(CATALOG.products_in(partition)) for partition in range(2)}


def between(sales: Iterable[Sale], first: int, end: int) -> list[Sale]:
    return [sale for sale in sales if first <= sale.at < end]


def added(sales: Sequence[Sale]) -> tuple[int, int, int]:
    return len(sales), sum(sale.quantity for sale in sales), sum(sale.cents for sale in sales)


def check(asked: Windows, sales: Sequence[Sale], through: int) -> None:
    """What windows say is what the sales add up to, as far as it is whole."""
    whole, by_product = max(asked.complete_from().values()), max(asked.products_from().values())
    for window, minutes in WINDOW_MINUTES.items():
        if (first := through - minutes * MINUTE) >= by_product:
            own = between(sales, first, through)
            ids = {sale.product_id for sale in own}
            assert asked.sums(window, through) == {
                product_id: added([sale for sale in own if sale.product_id == product_id]) for product_id in ids
            }
    first = max(whole, through - 200 * MINUTE)
    series = asked.series(first, through)
    assert set(series) == CATEGORIES
    for category, found in series.items():
        own = [sale for sale in sales if BY_ID[sale.product_id].category == category]
        begins = range(first, through, MINUTE)
        assert found == [added(between(own, begin, begin + MINUTE)) for begin in begins]


GAPS = [0, 0, SECOND, SECOND, 10 * SECOND, 30 * SECOND, 2 * MINUTE, 17 * MINUTE, 3 * HOUR, 20 * HOUR]


@st.composite
def shops(draw: st.DrawFn) -> tuple[list[Sale], dict[int, list[tuple[bytes, int]]]]:
    """Sales, and the log of each partition: values, and how many sales of all there were when each was written."""
    random, most = draw(st.randoms(use_true_random=False)), draw(st.integers(1, len(GAPS)))
    at, sales, odd = OPENED, list[Sale](), draw(st.booleans())
    numbers, logs = defaultdict[str, int](int), defaultdict[int, list[tuple[bytes, int]]](list)
    for _ in range(draw(st.integers(0, 250))):
        at += random.choice(GAPS[:most]) + random.randint(0, SECOND)
        place = random.randrange(len(PRODUCTS))
        product_id = PRODUCTS[place].product_id
        numbers[product_id] += 1
        sales.append(Sale(at, product_id, numbers[product_id], random.randint(1, 3), random.randint(1, 2000)))
        log = logs[HOMES[place]]
        log.append((sales[-1].value, len(sales)))
        if odd and random.random() < 0.05:
            what = random.choice([b"junk", b"", log[random.randrange(len(log))][0], lost_sale(1)])
            log.append((what, len(sales)))
    return sales, logs


@settings(max_examples=examples(120), deadline=None)
@given(shops(), st.data(), st.sampled_from([7, 40]))
def test_sums_and_series_are_those_of_the_sales(shop: Any, data: st.DataObject, longest: int) -> None:
    """In any chunks, some of which come again or are not written; with junk, and sales that stand in the log twice."""
    sales, logs = shop
    worker = Worker(Logs())
    worker.take_over(empty())
    random = data.draw(st.randoms(use_true_random=False))
    with mock.patch.object(projection, "ARRAY_MIN_MESSAGES", data.draw(st.sampled_from([2, 32]))):
        apply_all(worker, logs, random, longest)
    newest = sales[-1].at // MINUTE if sales else OPENED // MINUTE
    for ago in {-1, 0, 1, 2, random.randint(3, 150)}:
        check(worker.windows, sales, (newest - ago) * MINUTE)


def apply_all(worker: Worker, logs: dict[int, list[tuple[bytes, int]]], random: Random, longest: int) -> None:
    for partition, log in logs.items():
        messages = [SimpleNamespace(offset=offset, value=value) for offset, (value, _) in enumerate(log)]
        position = 0
        while position < len(messages):
            end = position + random.randint(1, longest)
            begin = max(0, position - random.choice([0, 0, 0, 5]))
            is_written = random.random() < 0.9
            worker.apply(partition, messages[begin:end], is_written)
            position = end if is_written else position
            if random.random() < 0.1:
                worker.windows.sums("hour", OPENED)  # to ask changes nothing


@settings(max_examples=examples(120), deadline=None)
@given(shops(), st.data())
def test_a_worker_that_takes_over_knows_what_was_sold_before(shop: Any, data: st.DataObject) -> None:
    """At any place of the logs, while new chunks come, with another rebalance meanwhile, and a cluster that fails."""
    sales, logs = shop
    random = data.draw(st.randoms(use_true_random=False))
    first, second = Worker(Logs()), Worker(Logs())
    messages: dict[int, list[Any]] = {0: [], 1: []}
    for partition, log in logs.items():
        messages[partition] = [SimpleNamespace(offset=offset, value=value) for offset, (value, _) in enumerate(log)]
        second.logs.values[TP(TOPICS[0], partition)] = [value for value, _ in log]
    first.take_over(empty())
    at = {partition: random.randint(0, len(own)) for partition, own in messages.items()}
    for partition, own in messages.items():
        if at[partition]:
            first.apply(partition, own[: at[partition]])
    second.logs.failures = random.choice([0, 0, 2])
    second.logs.failure = random.choice([KafkaConnectionError(), RegistryError("The schema registry does not answer")])
    second.now = sales[-1].at if sales else OPENED
    again = random.randint(0, 30)

    async def go_on() -> None:
        second.take_over({partition: copied(rows) for partition, rows in first.rows.items()})
        step = 0
        while any(at[partition] < len(own) for partition, own in messages.items()):
            partition = random.randrange(2)
            end = at[partition] + random.choice([1, 5, 40])
            if own := messages[partition][max(at[partition] - 3, 0) : end]:
                second.apply(partition, own)
                at[partition] = end
            if step == again:
                second.take_over(second.rows)
            step += 1
            await asyncio.sleep(0)
        await second.done()

    with (
        mock.patch.multiple(backfill, PIECE_OFFSETS=random.choice([3, 10, 200]), STEP_MESSAGES=4, REST_FACTOR=0),
        mock.patch.object(windows, "RETRY_SECONDS", 0),
    ):
        asyncio.run(go_on())
    newest = sales[-1].at // MINUTE if sales else OPENED // MINUTE
    for share in second.windows.complete_from().values():
        assert share <= max((newest - KEPT_MINUTES + 1) * MINUTE, OPENED)  # all that there is, or a day and more
    for ago in {-1, 0, 1, random.randint(2, 150)}:
        check(second.windows, sales, (newest - ago) * MINUTE)


def sold(count: int, every: int, product_id: str = "SF02", start: int = OPENED) -> list[Sale]:
    return [Sale(start + place * every, product_id, place + 1, 1, 499) for place in range(count)]


def numbered(sales: Sequence[Sale]) -> list[Any]:
    return [SimpleNamespace(offset=offset, value=sale.value) for offset, sale in enumerate(sales)]


def test_a_chunk_in_the_newest_minute_is_not_looked_at() -> None:
    worker, chunk = Worker(Logs()), numbered(sold(300, SECOND // 10, start=OPENED // MINUTE * MINUTE))
    worker.take_over(empty())
    worker.apply(0, chunk[:100])
    for start in (100, 200):
        applied = worker.project(0, chunk[start : start + 100])
        assert worker.windows.prepare(0, applied) is None
        worker.write(0, applied)
        worker.windows.add(0, applied, None)
    assert worker.windows.sums("minute", (OPENED // MINUTE + 1) * MINUTE) == {"SF02": (300, 300, 300 * 499)}


def test_what_is_older_than_a_day_by_the_shops_clock_is_left_out() -> None:
    sales = sold(40, 2 * HOUR)  # more than three days
    worker = Worker(Logs(), now=sales[-1].at)
    worker.take_over(empty())
    for message in numbered(sales):
        worker.apply(0, [message])
    begins = worker.windows.complete_from()[0]
    assert sales[-1].at - (KEPT_MINUTES + 121) * MINUTE < begins <= sales[-1].at - (KEPT_MINUTES - 121) * MINUTE
    assert worker.windows.sums("day", (sales[-1].at // MINUTE + 1) * MINUTE) == {"SF02": added(sales[-12:])}
    assert worker.windows.series(begins, begins + HOUR)["Classics"] == [NOTHING] * 60
    check(worker.windows, sales, (sales[-1].at // MINUTE + 1) * MINUTE)


def test_a_minute_of_which_some_sales_were_left_out_is_not_whole() -> None:
    begins = OPENED // MINUTE * MINUTE
    sales = sold(4, 20 * SECOND, start=begins)  # three in a minute, and one in the next
    worker = Worker(Logs(), now=begins + (KEPT_MINUTES + 1) * MINUTE)
    worker.take_over(empty())
    worker.apply(0, numbered(sales)[:2])
    worker.now -= MINUTE
    worker.apply(0, numbered(sales)[2:])
    assert worker.windows.complete_from()[0] == begins + MINUTE
    check(worker.windows, sales, begins + 2 * MINUTE)


def test_what_was_before_sales_that_were_left_out_is_of_no_use() -> None:
    sales = sold(100, 2 * MINUTE)
    first, second = Worker(Logs()), Worker(Logs())
    first.take_over(empty())
    first.apply(0, numbered(sales)[:50])
    second.logs.values[TP(TOPICS[0], 0)] = [sale.value for sale in sales]

    async def go_on() -> None:
        second.now = sales[49].at
        second.take_over(first.rows)
        while second.windows.complete_from()[0] > sales[49].at:  # until something is read again
            await asyncio.sleep(0)
        second.now = sales[80].at + KEPT_MINUTES * MINUTE
        second.apply(0, numbered(sales)[50:80])
        second.apply(0, numbered(sales)[80:])
        await second.done()

    with mock.patch.multiple(backfill, PIECE_OFFSETS=10, REST_FACTOR=0):
        asyncio.run(go_on())
    assert second.windows.complete_from()[0] == (sales[79].at // MINUTE + 1) * MINUTE
    check(second.windows, sales, (sales[-1].at // MINUTE + 1) * MINUTE)


def test_a_past_that_is_older_than_a_day_is_not_read_again() -> None:
    sales = sold(40, MINUTE)
    logs = Logs()
    logs.failures = 10**9  # whatever is read fails
    first, second = Worker(logs), Worker(logs, now=sales[-1].at + 2 * DAY)
    first.take_over(empty())
    first.apply(0, numbered(sales))

    async def take_over() -> None:
        second.take_over(first.rows)
        await second.done()

    asyncio.run(take_over())
    assert second.windows.complete_from()[0] == (sales[-1].at // MINUTE + 1) * MINUTE


def taken_over(worker: Worker, sales: Sequence[Sale], lost: int = 0) -> None:
    """Have a worker take over a partition whose log holds these sales, all of them applied by another one."""
    before = Worker(Logs())
    before.take_over(empty())
    before.apply(0, numbered(sales))
    worker.logs.values[TP(TOPICS[0], 0)] = [sale.value for sale in sales]
    worker.now = sales[-1].at

    async def take_over() -> None:
        worker.take_over(before.rows, lost)
        await worker.done()

    asyncio.run(take_over())


def test_where_the_log_is_too_long_the_sums_say_from_when_they_are_whole() -> None:
    sales, worker = sold(200, 20 * SECOND), Worker(Logs())
    with mock.patch.multiple(backfill, MAX_SALES=100, PIECE_OFFSETS=30):
        taken_over(worker, sales)
    assert worker.windows.complete_from()[0] == (sales[100].at // MINUTE + 1) * MINUTE
    check(worker.windows, sales, sales[-1].at // MINUTE * MINUTE)


def test_where_the_log_was_cut_the_sums_say_from_when_they_are_whole() -> None:
    sales, worker = sold(200, 20 * SECOND), Worker(Logs())
    worker.logs.lacking = {TP(TOPICS[0], 0): 50}
    taken_over(worker, sales)
    assert worker.windows.complete_from()[0] == (sales[50].at // MINUTE + 1) * MINUTE
    check(worker.windows, sales, sales[-1].at // MINUTE * MINUTE)


def test_what_is_too_much_goes_on_by_category() -> None:
    sales = [each for start in range(300) for each in [Sale(OPENED + start * MINUTE, "SF02", start + 1, 2, 700)]]
    worker = Worker(Logs())
    with mock.patch.object(windows, "MAX_CELLS", 2 * 100):  # of each of two partitions a hundred
        worker.take_over(empty())
    for message in numbered(sales):
        worker.apply(0, [message])
    through = (sales[-1].at // MINUTE + 1) * MINUTE
    worker.windows.series(OPENED, OPENED)
    series = worker.windows.series(OPENED // MINUTE * MINUTE, through)["Superfoods"]
    assert series == [(1, 2, 700)] * 300
    begins = worker.windows.products_from()[0]
    assert through - 102 * MINUTE <= begins <= through - 70 * MINUTE
    assert worker.windows.complete_from()[0] < OPENED
    check(worker.windows, sales, through)


@pytest.mark.parametrize("most", [20, 1_000_000])
def test_what_is_older_than_a_day_is_let_go(most: int) -> None:
    sales, worker = sold(60, HOUR), Worker(Logs())
    with mock.patch.object(windows, "MAX_CELLS", most):
        worker.take_over(empty())
    for message in numbered(sales):
        worker.apply(0, [message])
        worker.windows.series(OPENED, OPENED + HOUR)
    begins, end = (OPENED // MINUTE) * MINUTE, (sales[-1].at // MINUTE + 1) * MINUTE
    series = worker.windows.series(begins, end)["Superfoods"]
    assert [place for place, sums in enumerate(series) if sums != NOTHING] == list(range(32 * 60, 60 * 60, 60))
    assert worker.windows.complete_from()[0] == sales[32].at // MINUTE * MINUTE


def test_a_table_that_was_changed_behind_our_back_is_read_again() -> None:
    sales, worker = sold(30, 20 * SECOND), Worker(Logs())
    worker.logs.values[TP(TOPICS[0], 0)] = [sale.value for sale in sales]
    worker.now = sales[-1].at

    async def go_on() -> None:
        worker.take_over(empty())
        worker.apply(0, numbered(sales)[:10])
        applied = worker.project(0, numbered(sales)[10:20])
        worker.windows.prepare(0, applied)
        worker.write(0, applied)  # it is in the changelog, but nobody answered
        worker.take_over(worker.rows)
        worker.apply(0, numbered(sales)[20:])
        await worker.done()

    asyncio.run(go_on())
    check(worker.windows, sales, (sales[-1].at // MINUTE + 1) * MINUTE)
    assert worker.windows.sums("day", (sales[-1].at // MINUTE + 1) * MINUTE) == {"SF02": added(sales)}


def test_a_partition_that_stays_ours_is_not_read_again() -> None:
    sales, worker = sold(30, 20 * SECOND), Worker(Logs(), now=OPENED + HOUR)
    taken_over(worker, sales[:20])
    worker.logs.failures = 10**9  # whatever is read fails
    worker.apply(0, numbered(sales)[20:])
    worker.take_over(worker.rows)
    check(worker.windows, sales, (sales[-1].at // MINUTE + 1) * MINUTE)
    assert worker.windows.complete_from()[0] < OPENED


@pytest.mark.parametrize(
    ("left", "piece", "counts", "left_then"),
    [
        ([5, 2], [(0, 4), (0, 5), (0, 6), (1, 1), (1, 2), (0, 4)], [0, 1, 3, 4], [3, 0]),  # 6 is counted, 4 is twice
        ([10], [(0, 3), (0, 9), (0, 10)], [1, 2], [8]),  # 3 stands here again: it belongs before 4
        ([10], [(0, 9), (0, 8)], [], [10]),
        ([0, 1], [], [], [0, 1]),
    ],
)
def test_of_a_piece_of_the_log_count_the_last_sales_that_nobody_has_counted(
    left: list[int], piece: list[tuple[int, int]], counts: list[int], left_then: list[int]
) -> None:
    columns, still_left = np.array(piece, np.int64).reshape(-1, 2).T, np.array(left)
    assert sorted(take_uncounted(still_left, *columns).tolist()) == counts
    assert still_left.tolist() == left_then


def test_junk_of_any_size_is_read_over() -> None:
    sales, worker = sold(3, SECOND), Worker(Logs())
    junk = [
        sales[0].value.replace(b'"quantity": 1', b'"quantity": %d' % 2**70),
        sales[0].value.replace(b"4.99", b"1e308"),
        b"[" * 10_000,
        Sale(OPENED, "CS02", 2, 5, 99).value,  # of another partition
    ]
    before = Worker(Logs())
    before.take_over(empty())
    before.apply(0, numbered(sales))
    worker.logs.values[TP(TOPICS[0], 0)] = junk + [sale.value for sale in sales]
    worker.now = sales[-1].at
    for rows in before.rows.values():
        rows._numbers[rows._has_row, COLUMNS["offset"]] += len(junk)  # which stands before all sales

    async def take_over() -> None:
        worker.take_over(before.rows)
        await worker.done()

    with mock.patch.object(backfill, "STEP_MESSAGES", 1):  # by itself each of them looks different
        asyncio.run(take_over())
    assert worker.windows.sums("day", (OPENED // MINUTE + 1) * MINUTE) == {"SF02": added(sales)}


def test_only_partitions_that_are_ours_now_are_told_of() -> None:
    sales, worker = sold(30, SECOND), Worker(Logs())
    taken_over(worker, sales)
    asked, through = worker.windows, (OPENED // MINUTE + 2) * MINUTE
    assert asked.sums("day", through) == {"SF02": added(sales)}
    worker.member.rebalancing = True
    assert (asked.sums("day", through), asked.complete_from(), asked.complete_through()) == ({}, {}, {})
    worker.member.rebalancing = False
    worker.member.consumer_generation_id += 1  # what is assigned now is not recovered yet
    assert (asked.sums("day", through), asked.complete_from(), asked.complete_through()) == ({}, {}, {})
    worker.take_over({1: worker.rows[1]})
    assert asked.sums("day", through) == {}
    assert set(asked.complete_from()) == {1}


def test_sales_are_complete_up_to_the_last_one_or_to_what_the_till_says() -> None:
    sales, worker = sold(10, SECOND), Worker(Logs())
    worker.take_over(empty())
    asked = worker.windows
    assert asked.complete_through() == {0: OPENED, 1: OPENED}
    worker.apply(0, numbered(sales)[:9])
    assert asked.complete_through()[0] == sales[8].at
    asked.note_all_produced(0, sales[9].at + HOUR, 10)  # one of them is not applied yet
    assert asked.complete_through()[0] == sales[8].at
    worker.apply(0, numbered(sales)[9:])
    assert asked.complete_through() == {0: sales[9].at + HOUR + 1, 1: OPENED}


# --- Restocks and lost sales ----------------------------------------------------------------------------------------


def test_the_latest_restocks_are_those_told_before_and_those_applied() -> None:
    worker = Worker(Logs())
    told = [restock(number) for number in range(1, 81)]
    # A worker before us told of the last two, whose sales were not in its table.
    worker.logs.values[TP("stockings", 0)] = [json.dumps(each).encode() for each in told[:72]] + [b"junk"]
    taken_over(worker, sold(3, SECOND))
    assert worker.windows.latest_restocks == told[71:22:-1]  # junk takes a place
    applied = worker.project(0, numbered(sold(4, SECOND))[3:])
    applied.restocks = [
        ProductRestock("SF02", Restock(number, OPENED + number * SECOND, 3, 15)) for number in range(71, 81)
    ]
    worker.windows.add(0, applied, worker.windows.prepare(0, applied))
    assert worker.windows.latest_restocks == told[79:29:-1]
    assert len(worker.windows.latest_restocks) == MAX_LATEST


@pytest.mark.parametrize("position", [0, 20, 60])
def test_the_latest_lost_sales_are_those_told_before_and_those_applied(position: int) -> None:
    worker = Worker(Logs())
    values = [lost_sale(number) for number in range(1, 71)]
    values[65] = b"junk"
    worker.logs.values[TP(TOPICS[1], 0)] = values
    taken_over(worker, sold(3, SECOND), lost=position)
    before = [json.loads(value) for value in values[:position]]
    assert worker.windows.latest_lost_sales == before[:-51:-1]
    messages = [SimpleNamespace(offset=offset, value=value) for offset, value in enumerate(values)]
    for end in range(position + 5, 75, 5):
        worker.windows.add_lost(0, messages[max(0, end - 8) : end])  # some of them come again
    found = worker.windows.latest_lost_sales
    wanted = [json.loads(value) for value in values if value != b"junk"][::-1]
    assert found == wanted[: len(found)]
    assert len(found) >= MAX_LATEST - 1
    assert [event_time(each["event_time"]) for each in found] == sorted(
        (event_time(each["event_time"]) for each in found), reverse=True
    )


def test_what_is_read_again_may_be_in_any_format() -> None:
    form, worker, sales = JsonFormat("epoch_ms"), Worker(Logs()), sold(30, 20 * SECOND)
    worker.shop.format = form
    told = [restock(number) for number in range(1, 9)]
    lost = [json.dumps(json.loads(lost_sale(number)) | {"promised": None}).encode() for number in range(1, 9)]
    values = worker.logs.values
    values[TP("stockings", 0)] = [form.write("stockings", json.dumps(each).encode()) for each in told]
    values[TP(TOPICS[1], 0)] = [form.write("lost_sales", each) for each in lost]
    before = Worker(Logs())
    before.take_over(empty())
    before.apply(0, numbered(sales))
    values[TP(TOPICS[0], 0)] = [form.write("purchases", sale.value) for sale in sales]
    worker.now = sales[-1].at

    async def take_over() -> None:
        worker.take_over(before.rows, len(lost))
        await worker.done()

    asyncio.run(take_over())
    check(worker.windows, sales, (sales[-1].at // MINUTE + 1) * MINUTE)
    assert worker.windows.complete_from()[0] < OPENED
    assert worker.windows.latest_restocks == told[::-1]
    assert worker.windows.latest_lost_sales == [json.loads(each) for each in lost[::-1]]


def test_big_numbers_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SUPPLY, "largest_quantity", MAX_QUANTITY)
    sale = Sale(OPENED, "SF02", 1, 2**52 - 1, 2**45 - 1)
    worker = Worker(Logs())
    worker.take_over(empty())
    worker.apply(0, numbered([sale]))
    assert worker.windows.sums("minute", (OPENED // MINUTE + 1) * MINUTE) == {"SF02": (1, 2**52 - 1, 2**45 - 1)}


async def test_a_name_that_is_gone_ends_the_worker_and_is_no_unreadable_log() -> None:
    sales = sold(100, SECOND)
    worker = Worker(Logs())
    before = Worker(Logs())
    before.take_over(empty())
    before.apply(0, numbered(sales))
    worker.logs.values[TP(TOPICS[0], 0)] = [sale.value for sale in sales]
    worker.logs.failures, worker.logs.failure = 1, AttributeError("on purpose")
    worker.now = sales[-1].at
    worker.take_over(before.rows)
    with pytest.raises(AttributeError, match="on purpose"):
        await worker.done()
