"""A till makes the same sales however it is asked, from wherever it goes on."""

from pathlib import Path

import numpy as np
import pytest

from yasdg_app import catalog
from yasdg_app.catalog import Product
from yasdg_app.settings import SalesSettings
from yasdg_app.shop.till import LastSale, Place, Rates, Till

OPENED = 1_700_000_000_000_000
HOUR = 3_600_000_000
SALES = SalesSettings()
PRODUCTS = catalog.load(Path(__file__).parents[2] / "products.csv")
RATES = Rates.of(PRODUCTS, SALES)

Row = tuple[str, int, int, int]


def ring_up(till: Till, until: int) -> list[Row]:
    rows: list[Row] = []
    while True:
        sales = till.ring_up(until)
        ids = [till.products[i].product_id for i in sales.product]
        rows += zip(ids, sales.number.tolist(), sales.at.tolist(), sales.way.tolist(), strict=True)
        if till.through >= until:
            return rows


def open_till(
    products: tuple[Product, ...] = PRODUCTS, after: Place | None = None, numbers: dict[str, int] | None = None
) -> Till:
    return Till(products, SALES, RATES, OPENED, after, numbers or {})


def test_sales_come_at_the_configured_rate() -> None:
    sales = ring_up(open_till(), OPENED + 24 * HOUR)
    expected = 24 * 3600 / SALES.mean_seconds_between_sales
    assert abs(len(sales) - expected) < 5 * expected**0.5


def test_the_length_of_a_tick_changes_nothing() -> None:
    at_once, in_ticks = ring_up(open_till(), OPENED + HOUR), []
    till = open_till()
    for until in range(OPENED, OPENED + HOUR + 1, 7_300_000):
        in_ticks += ring_up(till, until)
    in_ticks += ring_up(till, OPENED + HOUR)
    assert in_ticks == at_once


def test_products_sold_apart_make_the_same_sales_as_together() -> None:
    apart = ring_up(open_till(PRODUCTS[::2]), OPENED + HOUR) + ring_up(open_till(PRODUCTS[1::2]), OPENED + HOUR)
    together = ring_up(open_till(), OPENED + HOUR)
    assert sorted(apart, key=lambda row: (row[2], row[0])) == together


@pytest.mark.parametrize("sold", [1, 2, 500, 1799])
def test_a_till_goes_on_behind_the_last_sale(sold: int) -> None:
    whole = ring_up(open_till(), OPENED + 2 * HOUR)
    before = whole[:sold]
    numbers = {product_id: number for product_id, number, _, _ in before}
    again = open_till(after=Place(before[-1][2], before[-1][0]), numbers=numbers)
    assert ring_up(again, OPENED + 2 * HOUR) == whole[sold:]


def test_numbers_are_contiguous_and_times_increase_within_a_product() -> None:
    sales = ring_up(open_till(), OPENED + 24 * HOUR)
    for product in PRODUCTS:
        own = [row for row in sales if row[0] == product.product_id]
        assert [row[1] for row in own] == list(range(1, len(own) + 1))
        assert np.all(np.diff([row[2] for row in own]) > 0)


def test_a_run_ends_with_the_sale_of_the_given_number() -> None:
    whole = ring_up(open_till(), OPENED + 2 * HOUR)
    last = LastSale(PRODUCTS, SALES, RATES, OPENED, 500)
    while last.place is None:
        last.look(OPENED + 2 * HOUR)
    assert last.place == Place(whole[499][2], whole[499][0])
