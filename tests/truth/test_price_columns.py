"""BulkPricing in columns are those of `price`, to the cent, whatever things cost."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import PRODUCTS

from yasdg_app.config.settings import SalesSettings
from yasdg_app.shop.customer_behaviour import line_of, purchase_options
from yasdg_app.shop.sales import NO_PRODUCT, Sales
from yasdg_app.truth.price_columns import UNKNOWN, BulkPricing

CENTS = st.integers(0, 10**11 - 1)  # all that a catalog may say


SETTINGS = st.sampled_from([SalesSettings(), SalesSettings(quantities=(1, 2)), SalesSettings(quantities=(1,) * 8)])


@given(SETTINGS, st.lists(st.tuples(CENTS, st.none() | CENTS, st.integers(0, 9_999)), min_size=1, max_size=4))
def test_a_column_of_lines_is_the_lines_one_by_one(
    settings: SalesSettings, of: list[tuple[int, int | None, int]]
) -> None:
    products = [replace(PRODUCTS[0], price_cents=price, cost_cents=cost) for price, cost, _ in of]
    rows = [
        (place, way, promotion)
        for place, (_, _, promotion) in enumerate(of)
        for way in range(purchase_options(settings))
    ]
    product, way, promotion = np.array(rows, dtype=np.int64).T
    nothing = np.zeros(len(rows), dtype=np.int64)
    sales = Sales(product, nothing + 1, nothing, way, promotion, nothing + NO_PRODUCT)
    columns = BulkPricing(products, settings).of(sales)
    for row, event_id in enumerate(rows):
        line = line_of(products[event_id[0]], event_id[1], event_id[2], settings)
        assert [int(column[row]) for column in columns] == [
            line.product.price_cents, line.quantity, line.is_member, line.member_discount, line.add_supplements,
            line.supplement_cents, line.total_cents, UNKNOWN if line.cost_cents is None else line.cost_cents,
        ]  # fmt: skip
