"""What each datastore promises, of a real one: its guard above all."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.datastores import Row, Server
from support.product_ids import ODD
from support.properties import examples

from yasdg_app.sinks.base import Datastore, DatastoreError, DatastoreRefusedError, StoredLevel
from yasdg_app.sinks.factory import create_datastore

OPENED = ("2026-01-01 08:00:00.000000", "2026-01-01 08:00:00.000001")
numbers = count()


def made(product_id: str, sales: int, opening: int = 0) -> StoredLevel:
    """The row of a product after so many sales, as it is whoever makes it."""
    last = f"2026-01-01 09:00:{sales:02}.000001" if sales else ""
    return StoredLevel(
        product_id, "Sunrise Sunset", "Classic Smoothies", 499, 75 - sales % 10, sales, last, OPENED[opening]
    )


def as_read(level: StoredLevel) -> Row:
    """What another reader finds of it."""
    row = level._asdict()
    return row | {"price": row.pop("price_cents"), "last_sale": row["last_sale"] or None}


def opened(url: str, runner: asyncio.Runner) -> Datastore:
    store = create_datastore(url)
    assert store is not None
    runner.run(store.open())
    return store


@pytest.fixture
def url(server: Server) -> str:
    return server.new()


@pytest.fixture
def store(url: str, runner: asyncio.Runner) -> Iterator[Datastore]:
    store = opened(url, runner)
    yield store
    runner.run(store.close())


# --- The guard

products = st.sampled_from(["A", "B", "C"])
rows = st.builds(lambda *places: places, products, st.integers(0, 5), st.integers(0, 1))
writes = st.lists(st.lists(rows, min_size=1, unique_by=lambda row: row[0]), min_size=1)


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(writes)
def test_any_order_of_writes_with_repeats_ends_with_the_newest(
    store: Datastore, runner: asyncio.Runner, writes: list[list[tuple[str, int, int]]]
) -> None:
    mark = f"{next(numbers)}-"
    newest: dict[str, StoredLevel] = {}
    for write in writes:
        levels = [made(mark + product, sales, opening) for product, sales, opening in write]
        runner.run(store.write(levels))
        for level in levels:
            newest[level.product_id] = max(level, newest.get(level.product_id, level), key=lambda each: each.version)
    assert runner.run(store.read([mark + product for product in "ABC"])) == newest


def test_two_who_write_at_once_end_with_the_newest(server: Server, url: str, runner: asyncio.Runner) -> None:
    stores = [opened(url, runner), opened(url, runner)]

    async def write(store: Datastore, order: Sequence[int]) -> None:
        for sales in order:
            await store.write([made(f"P{product:02}", sales) for product in range(30)])
        await store.close()

    async def both() -> None:
        await asyncio.gather(write(stores[0], range(0, 30)), write(stores[1], range(15, 45)))

    runner.run(both())
    assert server.rows(url) == {f"P{product:02}": as_read(made(f"P{product:02}", 44)) for product in range(30)}


# --- Rows


def test_rows_are_what_any_reader_finds(server: Server, url: str, store: Datastore, runner: asyncio.Runner) -> None:
    levels = [
        made("CS01", 0),
        made("CS02", 42),
        StoredLevel("_.-x", 'Açaí \'n "Nuts"; --', "", 1, 0, 1, "1971-01-01 00:00:00.000000", OPENED[0]),
        StoredLevel(
            "y" * 64, "10 %", "$1 :a #b ?", 99_999_999_999, 2**53 - 1, 10**15, "2199-12-31 23:59:59.999999", OPENED[1]
        ),
        *(made(product_id, sales) for sales, product_id in enumerate(ODD)),
    ]
    runner.run(store.write(levels))
    assert server.rows(url) == {level.product_id: as_read(level) for level in levels}
    by_id = {level.product_id: level for level in levels}
    assert runner.run(store.read([*by_id, "CS03"])) == by_id
    assert runner.run(store.read(["CS03"])) == {}


def test_a_new_shop_without_a_sale_takes_the_place_of_an_old_one(
    server: Server, url: str, store: Datastore, runner: asyncio.Runner
) -> None:
    runner.run(store.write([made("CS01", 7)]))
    runner.run(store.write([made("CS01", 0, opening=1)]))
    assert server.rows(url) == {"CS01": as_read(made("CS01", 0, opening=1))}


def test_a_full_batch_is_taken(server: Server, url: str, store: Datastore, runner: asyncio.Runner) -> None:
    levels = [made(f"P{number:04}", number % 60) for number in range(store.batch)]
    runner.run(store.write(levels))
    assert len(runner.run(store.read([level.product_id for level in levels]))) == store.batch
    assert server.rows(url) == {level.product_id: as_read(level) for level in levels}


# --- The table


def test_of_those_who_open_it_at_once_one_makes_the_table(url: str, runner: asyncio.Runner) -> None:
    stores = [create_datastore(url) for _ in range(5)]

    async def open_all() -> None:
        await asyncio.gather(*(store.open() for store in stores if store))
        await asyncio.gather(*(store.write([made("CS01", 1)]) for store in stores if store))
        await asyncio.gather(*(store.close() for store in stores if store))

    runner.run(open_all())


def test_the_table_and_its_rows_stay_when_it_is_opened_again(
    server: Server, url: str, store: Datastore, runner: asyncio.Runner
) -> None:
    runner.run(store.write([made("CS01", 1)]))
    assert runner.run(store.open()) is False
    again = create_datastore(url)
    assert again is not None
    runner.run(again.open())
    runner.run(again.write([made("CS02", 1)]))
    runner.run(again.close())
    assert server.rows(url).keys() == {"CS01", "CS02"}


def test_a_column_of_somebody_elses_stays_as_it_is(
    server: Server, url: str, store: Datastore, runner: asyncio.Runner
) -> None:
    runner.run(store.write([made("CS01", 1)]))
    server.widen(url, "note")
    server.set(url, "CS01", "note", "by the window")
    runner.run(store.write([made("CS01", 2)]))
    assert server.rows(url)["CS01"] == as_read(made("CS01", 2)) | {"note": "by the window"}


def test_another_table_of_the_name_is_refused_and_left_alone(server: Server, url: str, runner: asyncio.Runner) -> None:
    server.spoil(url)
    store = create_datastore(url)
    assert store is not None
    with pytest.raises(DatastoreRefusedError, match="Expected none, or one that YASDG made") as refused:
        runner.run(store.open())
    assert "\n" not in str(refused.value)
    assert server.rows(url) == {}


# --- A datastore that is away


def test_one_that_was_killed_is_of_use_again_when_it_is_back(
    server: Server, url: str, store: Datastore, runner: asyncio.Runner
) -> None:
    runner.run(store.write([made("CS01", 1)]))
    server.kill()
    try:
        for _ in range(2):
            with pytest.raises(DatastoreError) as away:
                runner.run(write_when_open(store, made("CS01", 2)))
            assert not isinstance(away.value, DatastoreRefusedError)
            assert "\n" not in str(away.value)
    finally:
        server.start()
    runner.run(write_when_open(store, made("CS01", 3)))
    assert server.rows(url) == {"CS01": as_read(made("CS01", 3))}


async def write_when_open(store: Datastore, level: StoredLevel) -> None:
    await store.open()
    await store.write([level])
