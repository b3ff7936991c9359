"""The arrivals of a product do not depend on the other products of the process."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import OPENED, PRODUCTS, World, product, worlds

from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.shop.arrivals import ArrivalProcess
from yasdg_app.shop.demand import DRAWS_PER_CHUNK
from yasdg_app.shop.plan import Plan

IN_ORDER = sorted(PRODUCTS, key=lambda each: each.product_id)


@settings(max_examples=examples(60))
@given(worlds(), st.data())
def test_discounts_and_customers_are_those_of_each_product_by_itself(world: World, data: st.DataObject) -> None:
    plan = world.plan
    begin = plan.grid.cell_at(data.draw(st.integers(OPENED, world.until)))
    count = min(plan.grid.cell_at(world.until) - begin + 1, 2000)
    activity, process = plan.activity(begin, count), ArrivalProcess(plan, IN_ORDER)
    came = process.arrivals(plan, begin, activity)
    asked = came.rows.product[came.row]
    for place, each in enumerate(IN_ORDER):
        places, cells = np.full(count, place), np.arange(begin, begin + count)
        discount = plan.discount(each, begin, count)
        wanted = np.zeros(count) if discount is None else discount
        assert np.array_equal(process.discounts(plan, begin, count, places, cells), wanted)
        alone = ArrivalProcess(plan, [each]).arrivals(plan, begin, activity)
        assert np.array_equal(alone.at, came.at[asked == place])
        assert np.all(plan.expected(each, begin, activity)[alone.rows.cell - begin] == alone.rows.expected)


def test_a_product_among_very_many_is_asked_for_as_in_a_crowd_of_its_own() -> None:
    products = tuple(product(f"P{place:06d}", f"C{place % 7}", 1 + place % 3) for place in range(DRAWS_PER_CHUNK + 100))
    plan = Plan.of(Settings(sales=replace(SalesSettings(), max_sale_freq=0.0002, min_sale_freq=0.0)), products, OPENED)
    first = plan.grid.cell_at(OPENED)
    activity = plan.activity(first, 3)
    process = ArrivalProcess(plan, products)
    came = process.arrivals(plan, first, activity)
    ways, asked = process.behaviour.options(came), came.rows.product[came.row]
    assert np.all(np.diff(asked) >= 0)
    for place in (0, DRAWS_PER_CHUNK // 3 - 1, DRAWS_PER_CHUNK // 3, DRAWS_PER_CHUNK, len(products) - 1):
        own = ArrivalProcess(plan, products[place : place + 1])
        alone = own.arrivals(plan, first, activity)
        assert len(alone.at)
        assert np.array_equal(alone.at, came.at[asked == place])
        assert np.array_equal(own.behaviour.options(alone), ways[asked == place])
