"""The table's rows: what is put there comes back, whatever it is."""

from hypothesis import given
from hypothesis import strategies as st
from shops import IDS, PRODUCTS

from yasdg_app.messages import InventoryLevel, event_time, time_text
from yasdg_app.streams.assortment import Assortment
from yasdg_app.streams.table import NO_TIME, Levels, Rows, numbers_of

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
    assortment = Assortment(PRODUCTS, HOMES)
    rows = {partition: Rows(assortment.here(partition)) for partition in range(3)}
    table, latest = Levels(assortment, rows), {level.product_id: level for level in written}
    for level in written:
        place = assortment.places[level.product_id]
        rows[HOMES[place]].put([assortment.seats[place]], numbers_of([level]))
    assert [table.level_of(product_id) for product_id in IDS] == [latest.get(product_id) for product_id in IDS]
    assert {key.decode(): level for key, level in table.items()} == latest
    assert len(table) == len(latest)
    for partition, own in rows.items():
        here = [latest[each.product_id] for each in assortment.here(partition) if each.product_id in latest]
        assert [each.product_id for each in own.products()] == [level.product_id for level in here]
        assert own.column("offset").tolist() == [level.offset for level in here]
        last = max(((event_time(each.last_sale), each.product_id) for each in here if each.last_sale), default=None)
        assert own.last("last_sale") == last
    assert table.level_of("CS99") is None


def test_no_time_is_a_time_that_nothing_happens_at() -> None:
    assert event_time("0001-01-01 00:00:00") > NO_TIME
