"""What a crowd says of a product does not depend on the other products that it is of."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.properties import examples
from support.small_shops import OPENED, PRODUCTS, World, product, worlds

from yasdg_app.config.settings import SalesSettings, Settings
from yasdg_app.shop.arrivals import Crowd
from yasdg_app.shop.demand import PIECE
from yasdg_app.shop.plan import Plan

IN_ORDER = sorted(PRODUCTS, key=lambda each: each.product_id)


@settings(max_examples=examples(60))
@given(worlds(), st.data())
def test_discounts_and_customers_are_those_of_each_product_by_itself(world: World, data: st.DataObject) -> None:
    plan = world.plan
    begin = plan.cells.of(data.draw(st.integers(OPENED, world.until)))
    count = min(plan.cells.of(world.until) - begin + 1, 2000)
    activity, crowd = plan.activity(begin, count), Crowd(plan, IN_ORDER)
    came = crowd.arrivals(plan, begin, activity)
    asked = came.rows.product[came.row]
    for place, each in enumerate(IN_ORDER):
        places, cells = np.full(count, place), np.arange(begin, begin + count)
        discount = plan.discount(each, begin, count)
        wanted = np.zeros(count) if discount is None else discount
        assert np.array_equal(crowd.discounts(plan, begin, count, places, cells), wanted)
        alone = Crowd(plan, [each]).arrivals(plan, begin, activity)
        assert np.array_equal(alone.at, came.at[asked == place])
        assert np.all(plan.expected(each, begin, activity)[alone.rows.cell - begin] == alone.rows.expected)


def test_a_product_among_very_many_is_asked_for_as_in_a_crowd_of_its_own() -> None:
    products = tuple(product(f"P{place:06d}", f"C{place % 7}", 1 + place % 3) for place in range(PIECE + 100))
    plan = Plan.of(Settings(sales=replace(SalesSettings(), max_sale_freq=0.0002, min_sale_freq=0.0)), products, OPENED)
    first = plan.cells.of(OPENED)
    activity = plan.activity(first, 3)
    crowd = Crowd(plan, products)
    came = crowd.arrivals(plan, first, activity)
    ways, asked = crowd.customs.ways(came), came.rows.product[came.row]
    assert np.all(np.diff(asked) >= 0)
    for place in (0, PIECE // 3 - 1, PIECE // 3, PIECE, len(products) - 1):
        own = Crowd(plan, products[place : place + 1])
        alone = own.arrivals(plan, first, activity)
        assert len(alone.at)
        assert np.array_equal(alone.at, came.at[asked == place])
        assert np.array_equal(own.customs.ways(alone), ways[asked == place])
