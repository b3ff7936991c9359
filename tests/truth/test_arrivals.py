"""What an engine sees over a faulty channel, against one message after the other by the definition."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from support.small_shops import MINUTE, OPENED, SECOND, World, world_of, worlds

from yasdg_app.config.settings import FaultSettings, SalesSettings, Settings
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, LATE, NONE, OUT_OF_ORDER, Faults
from yasdg_app.shop.till import Till
from yasdg_app.truth.arrivals import ArrivalSimulator
from yasdg_app.truth.events import blocks
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import Keys, aggregates, sorted_products

MANY = FaultSettings(
    late=Decimal(".2"), duplicate=Decimal(".1"), dropped=Decimal(".1"), out_of_order=Decimal(".2"),
    corrupt=Decimal(".1"), late_by=(timedelta(seconds=1), timedelta(minutes=3)), out_of_order_by=timedelta(seconds=9),
)  # fmt: skip

Seen = dict[tuple[str, int], tuple[int, bool]]  # of each sale: how often it is counted, whether it came too late


def by_the_definition(world: World, faults: Faults, span: Span, lateness: int, deduplicated: bool) -> Seen:
    till = Till(world.plan, world.plan.products)
    released: list[tuple[int, str, int, int, int]] = []
    seen: Seen = {}
    while till.watermark < world.until:
        sales = till.generate_until(world.until).sales
        for place, number, at in zip(sales.product.tolist(), sales.number.tolist(), sales.at.tolist(), strict=True):
            product = till.products[place]
            kinds, delays = faults.of_sales(product, sales.number[(sales.product == place) & (sales.number == number)])
            kind, release = int(kinds[0]), at + int(delays[0])
            seen[product.product_id, number] = 0, release > world.until
            if release <= world.until and kind not in (DROPPED, CORRUPT):
                released.append((release, product.product_id, number, at, kind))
    latest = -(2**62)
    for _, product_id, number, at, kind in sorted(released):
        end = span.end if span.window is None else (at // span.window + 1) * span.window
        too_late = latest - lateness >= end
        times = 0 if too_late else 2 if kind == DUPLICATE and not deduplicated else 1
        seen[product_id, number] = times, too_late
        latest = max(latest, at)
    return seen


@given(
    worlds(),
    st.sampled_from([SECOND, 10 * SECOND, MINUTE, None]),
    st.sampled_from([0, SECOND, 30 * SECOND, 5 * MINUTE]),
    st.booleans(),
)
def test_it_is_what_the_definition_says(world: World, window: int | None, lateness: int, deduplicated: bool) -> None:
    faults = Faults.of(MANY, world.plan.sales.seed)
    span = Span(OPENED, world.until + 1, window)
    products = sorted_products(world.plan)
    wanted = by_the_definition(world, faults, span, lateness, deduplicated)

    def arrivals() -> ArrivalSimulator:
        return ArrivalSimulator(faults, products, span, lateness, deduplicated)

    seen: Seen = {}
    for block in blocks(world.plan, world.until, arrivals()):
        assert block.arrived is not None
        sales, _, _, too_late, times = block.arrived
        ids = [products[place].product_id for place in sales.product.tolist()]
        keys = zip(ids, sales.number.tolist(), strict=True)
        for key, counted, late in zip(keys, times.tolist(), too_late.tolist(), strict=True):
            assert key not in seen
            seen[key] = counted, late
    assert seen == wanted

    keys = Keys(products, "product")
    sums: dict[str, int] = defaultdict(int)
    for rows, _ in aggregates(world.plan, keys, span, world.until, arrivals()):
        for key, count in zip(rows.key.tolist(), rows.column("sales").tolist(), strict=True):
            sums[keys.names[key]] += count
    by_product: dict[str, int] = defaultdict(int)
    for (product_id, _), (times, _) in wanted.items():
        by_product[product_id] += times
    assert {name: count for name, count in sums.items() if count} == {
        name: count for name, count in by_product.items() if count
    }


@given(worlds())
def test_whoever_does_not_ask_for_lateness_has_all_sales_once_and_what_became_of_them(world: World) -> None:
    faults = Faults.of(MANY, world.plan.sales.seed)
    span = Span(OPENED, world.until + 1, MINUTE)
    kinds = set()
    for block in blocks(
        world.plan, world.until, ArrivalSimulator(faults, sorted_products(world.plan), span, None, False)
    ):
        assert block.arrived is not None
        assert (block.arrived.times == 1).all()
        kinds |= set(block.arrived.kinds.tolist())
    assert kinds <= {NONE, LATE, DUPLICATE, DROPPED, OUT_OF_ORDER, CORRUPT}


def test_a_window_ends_to_the_microsecond() -> None:
    """A message is left out if what was seen before it, less the lateness, is the end of its window, and not before."""
    world = world_of(Settings(sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=1.0)), 20 * MINUTE)
    faults, products = Faults.of(MANY, world.plan.sales.seed), sorted_products(world.plan)
    span = Span(OPENED, world.until + 1, MINUTE)

    def left_out(lateness: int, until: int = world.until) -> Seen:
        return by_the_definition(replace(world, until=until), faults, span, lateness, False)

    def counted(lateness: int, until: int = world.until) -> dict[tuple[str, int], int]:
        counts = {}
        for block in blocks(world.plan, until, ArrivalSimulator(faults, products, span, lateness, False)):
            assert block.arrived is not None
            sales = block.arrived.sales
            ids = [products[place].product_id for place in sales.product.tolist()]
            counts |= dict(zip(zip(ids, sales.number.tolist(), strict=True), block.arrived.times.tolist(), strict=True))
        return counts

    def times(seen: Seen) -> dict[tuple[str, int], int]:
        return {key: counted for key, (counted, _) in seen.items()}

    # The longest lateness by which one more is left out, and the shortest by which it is not.
    least, most = 0, 10 * MINUTE
    whole = sum(late for _, late in left_out(most).values())
    while most - least > 1:
        middle = (least + most) // 2
        few = sum(late for _, late in left_out(middle).values()) == whole
        least, most = (least, middle) if few else (middle, most)
    assert times(left_out(least)) != times(left_out(most))
    assert counted(least) == times(left_out(least))
    assert counted(most) == times(left_out(most))


def test_what_is_released_in_the_shops_last_microsecond_arrives() -> None:
    world = world_of(Settings(sales=SalesSettings(min_sale_freq=0.0, max_sale_freq=1.0)), 20 * MINUTE)
    faults, products = Faults.of(MANY, world.plan.sales.seed), sorted_products(world.plan)
    span = Span(OPENED, world.until + 1, None)
    till = Till(world.plan, world.plan.products)
    sales = till.generate_until(world.until).sales
    kinds, delays = faults.of_rows(faults.keys([each.product_id for each in products])[sales.product], sales.number)
    row = next(row for row in range(50, len(sales)) if kinds[row] == LATE)
    place, number = int(sales.product[row]), int(sales.number[row])
    arrives = int(sales.at[row] + delays[row])

    def times(until: int) -> int:
        found = [
            int(block.arrived.times[which])
            for block in blocks(world.plan, until, ArrivalSimulator(faults, products, span, 0, False))
            if block.arrived is not None
            for which in range(len(block.arrived.sales))
            if (block.arrived.sales.product[which], block.arrived.sales.number[which]) == (place, number)
        ]
        assert len(found) == 1
        return found[0]

    assert (times(arrives - 1), times(arrives)) == (0, 1)
