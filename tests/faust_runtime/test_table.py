"""The table's rows: what is put there comes back, whatever it is."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import IDS, PRODUCTS

from yasdg_app.faust_runtime.table import NO_TIME, PartitionStore, TableContent, numbers_of
from yasdg_app.inventory.partitioned_catalog import PartitionedCatalog
from yasdg_app.messages.records import InventoryLevel
from yasdg_app.messages.times import event_time, time_text

HOMES = [0, 1, 0, 1, 0, 2]
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXT = st.just("") | st.integers(-(10**15), 10**17).map(time_text)


def levels(product_id: str) -> st.SearchStrategy[InventoryLevel]:
    names = InventoryLevel.__struct_fields__[1:]
    texts = ("last_sale", "ordered_at", "promised", "last_lost")
    fields = {name: TEXT if name in texts else WHOLE for name in names}
    return st.builds(InventoryLevel, st.just(product_id), **fields)


@given(st.lists(st.sampled_from(IDS).flatmap(levels), max_size=12))
def test_a_row_comes_back_as_it_was_written(written: list[InventoryLevel]) -> None:
    catalog = PartitionedCatalog(PRODUCTS, HOMES)
    rows = {partition: PartitionStore(catalog.products_in(partition)) for partition in range(3)}
    table, latest = TableContent(catalog, rows), {level.product_id: level for level in written}
    for level in written:
        place = catalog.indexes[level.product_id]
        rows[HOMES[place]].put([catalog.local_indexes[place]], numbers_of([level]))
    assert [table.level_of(product_id) for product_id in IDS] == [latest.get(product_id) for product_id in IDS]
    assert {key.decode(): level for key, level in table.items()} == latest
    assert len(table) == len(latest)
    for partition, own in rows.items():
        here = [latest[each.product_id] for each in catalog.products_in(partition) if each.product_id in latest]
        assert [each.product_id for each in own.products()] == [level.product_id for level in here]
        assert own.column("offset").tolist() == [level.offset for level in here]
        last = max(((event_time(each.last_sale), each.product_id) for each in here if each.last_sale), default=None)
        assert own.latest("last_sale") == last
    assert table.level_of("CS99") is None


def test_no_time_is_a_time_that_nothing_happens_at() -> None:
    assert event_time("0001-01-01 00:00:00") > NO_TIME


def after(sales: int, product_id: str = IDS[0], lost_sales: int = 0) -> InventoryLevel:
    """The row of a product after so many sales of one unit."""
    last = time_text(sales) if sales else ""
    return InventoryLevel(
        product_id, 90 - sales, 90, sales, sales, 0, 0, 0, 0, last, sales, lost_sales=lost_sales, last_lost=""
    )


def test_a_datastore_may_have_all_rows_otherwise_at_first_and_then_those_that_a_sale_changed() -> None:
    rows = PartitionStore(PRODUCTS)
    assert (rows.changed_count, rows.changed_since_save().tolist()) == (len(PRODUCTS), list(range(len(PRODUCTS))))
    rows.mark_saved(rows.changed_since_save())
    assert rows.changed_count == 0
    rows.put([3, 1], numbers_of([after(1), after(2)]))
    assert rows.changed_since_save().tolist() == [1, 3]
    rows.mark_saved(rows.changed_since_save())
    rows.put([3, 1, 2], numbers_of([after(1, lost_sales=1), after(3), after(0, lost_sales=1)]))
    assert rows.changed_since_save().tolist() == [1]  # who is turned away takes nothing from the shelf
    rows.mark_all_changed()
    assert rows.changed_count == len(PRODUCTS)


def test_what_was_sold_since_the_last_look_need_not_wait_for_the_rest() -> None:
    rows = PartitionStore(PRODUCTS)
    rows.put([3, 1], numbers_of([after(1), after(2)]))
    rows.mark_saved(np.array([3]))  # it was its turn meanwhile
    assert rows.take_newly_sold().tolist() == [1]
    assert rows.take_newly_sold().tolist() == []
    assert rows.changed_count == len(PRODUCTS) - 1


def test_what_a_datastore_gets_of_a_product_is_its_level_or_that_of_the_opening() -> None:
    rows = PartitionStore(PRODUCTS)
    rows.put([1, 2], numbers_of([after(5), after(0, lost_sales=1)]))
    first, second, third = PRODUCTS[:3]
    assert list(rows.states(np.array([0, 1, 2]))) == [
        (first, first.inventory, 0, NO_TIME),
        (second, 85, 5, 5),
        (third, 90, 0, NO_TIME),
    ]
