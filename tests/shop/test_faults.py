"""Each sale has the fault that its number draws, whoever asks; the shares are as configured, and damage is for good."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from support.small_shops import BY_ID, IDS, PRODUCTS, SECOND

from yasdg_app.config.settings import FAULTS, FaultSettings, SalesSettings
from yasdg_app.messages.reference import encode, purchase
from yasdg_app.shop.customer_behaviour import line_of
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, KINDS, LATE, NONE, OUT_OF_ORDER, Faults
from yasdg_app.shop.randomness import uniforms

SEEDS, NUMBERS = st.integers(0, 2**64 - 1), st.integers(1, 10**15)
PRODUCT = BY_ID["CS01"]
UNLIKELY = 1e-6  # that a test of chance fails by chance


@st.composite
def faults(draw: st.DrawFn) -> FaultSettings:
    weights = draw(st.lists(st.integers(0, 200_000), min_size=5, max_size=5))
    shortest, more, moment = (draw(st.integers(1, 10**9)) for _ in range(3))
    return FaultSettings(
        *(Decimal(weight) / 1_000_000 for weight in weights),
        late_by=(timedelta(microseconds=shortest), timedelta(microseconds=shortest + more)),
        out_of_order_by=timedelta(microseconds=moment),
    )


def settings(**shares: str) -> FaultSettings:
    return FaultSettings(**{kind: Decimal(share) for kind, share in shares.items()})


def test_kinds_have_the_names_of_the_settings() -> None:
    assert [KINDS[kind] for kind in (LATE, DUPLICATE, DROPPED, OUT_OF_ORDER, CORRUPT)] == list(FAULTS)


@given(faults(), SEEDS, st.lists(st.tuples(st.sampled_from(IDS), NUMBERS), min_size=1, max_size=30), st.integers(0, 30))
def test_what_becomes_of_a_sale_depends_on_its_product_and_number_alone(
    configured: FaultSettings, seed: int, sales: list[tuple[str, int]], cut: int
) -> None:
    shop = Faults.of(configured, seed)
    numbers = np.array([number for _, number in sales])
    together = shop.of_rows(shop.keys(product_id for product_id, _ in sales), numbers)
    for place, (product_id, number) in enumerate(sales):
        alone = shop.of_sales(BY_ID[product_id], np.array([number]))
        assert (alone.kinds[0], alone.delays[0]) == (together.kinds[place], together.delays[place])
    mine = shop.of_sales(PRODUCT, numbers)
    parts = [shop.of_sales(PRODUCT, part) for part in (numbers[:cut], numbers[cut:])]
    assert np.concatenate([part.kinds for part in parts]).tolist() == mine.kinds.tolist()
    assert np.concatenate([part.delays for part in parts]).tolist() == mine.delays.tolist()


@given(faults(), SEEDS)
def test_delays_are_within_their_bounds_and_only_of_what_is_held_up(configured: FaultSettings, seed: int) -> None:
    shop = Faults.of(configured, seed)
    drawn = shop.of_sales(PRODUCT, np.arange(1, 500))
    assert drawn.kinds.dtype == np.int8
    late, moment = (drawn.delays[drawn.kinds == kind] for kind in (LATE, OUT_OF_ORDER))
    shortest, longest = (int(each / timedelta(microseconds=1)) for each in configured.late_by)
    assert np.all((late >= shortest) & (late <= longest))
    assert np.all((moment >= 1) & (moment <= configured.out_of_order_by / timedelta(microseconds=1)))
    assert np.all(drawn.delays[(drawn.kinds != LATE) & (drawn.kinds != OUT_OF_ORDER)] == 0)
    assert drawn.delays.max() <= shop.longest


@given(SEEDS)
def test_without_shares_nothing_happens_and_a_share_of_one_is_all(seed: int) -> None:
    numbers = np.arange(1, 2000)
    assert not Faults.of(FaultSettings(), seed).of_sales(PRODUCT, numbers).kinds.any()
    assert Faults.of(FaultSettings(), seed).longest == 0
    for kind, name in enumerate(FAULTS, 1):
        assert np.all(Faults.of(settings(**{name: "1"}), seed).of_sales(PRODUCT, numbers).kinds == kind)


def test_the_seed_and_the_product_decide() -> None:
    numbers, half = np.arange(1, 200), settings(late=".5")
    drawn = {
        (seed, product.product_id): Faults.of(half, seed).of_sales(product, numbers).kinds.tobytes()
        for seed in (1, 2)
        for product in PRODUCTS
    }
    assert len(set(drawn.values())) == len(drawn)


@pytest.mark.parametrize("seed", range(3))
def test_each_kind_has_its_share(seed: int) -> None:
    shop = Faults.of(settings(late=".02", duplicate=".01", dropped=".00001", out_of_order=".05", corrupt=".003"), seed)
    count = 400_000
    seen = sum(np.bincount(shop.of_sales(each, np.arange(1, count + 1)).kinds, minlength=6) for each in PRODUCTS)
    shares = np.array([1 - 0.08301, 0.02, 0.01, 0.00001, 0.05, 0.003])
    assert stats.chisquare(seen, shares * count * len(PRODUCTS)).pvalue > UNLIKELY


def test_delays_are_even_between_shortest_and_longest_and_no_matter_of_the_kind() -> None:
    shop = Faults.of(settings(late=".3", out_of_order=".3"), 7)
    drawn = shop.of_sales(PRODUCT, np.arange(1, 100_001))
    for kind, (shortest, longest) in ((LATE, (60 * SECOND, 600 * SECOND)), (OUT_OF_ORDER, (0, 5 * SECOND))):
        delays = drawn.delays[drawn.kinds == kind]
        seen = np.histogram(delays, bins=50, range=(shortest, longest))[0]
        assert seen.sum() == len(delays)
        assert stats.chisquare(seen).pvalue > UNLIKELY


def test_faults_of_neighbours_are_independent() -> None:
    late = Faults.of(settings(late=".5"), 3).of_sales(PRODUCT, np.arange(1, 200_001)).kinds == LATE
    pairs = np.bincount(late[:-1] * 2 + late[1:], minlength=4)
    assert stats.chisquare(pairs).pvalue > UNLIKELY
    # Nor is a fault a matter of any other draw of the same number.
    shop = Faults.of(settings(late=".5"), 3)
    others = uniforms(shop.keys([PRODUCT.product_id]), np.arange(1, 200_001)) < 0.5
    assert stats.chisquare(np.bincount(late * 2 + others, minlength=4)).pvalue > UNLIKELY


def is_read(read: Any, value: bytes) -> bool:
    try:
        read(value)
    except (ValueError, msgspec.DecodeError, RecursionError):
        return False
    return True


def test_what_is_damaged_is_read_by_nobody_in_several_ways() -> None:
    value = encode(purchase(1_795_564_800_000_000, 42, line_of(PRODUCT, 7, 1500, SalesSettings()), "CS02"))
    shop = Faults.of(settings(corrupt="1"), 42)
    key = int(shop.keys([PRODUCT.product_id])[0])
    found = [shop.damaged(key, number, value) for number in range(1, 3001)]
    assert found == [shop.damaged(key, number, value) for number in range(1, 3001)]
    for each in set(found):
        for read in (json.loads, orjson.loads, msgspec.json.decode):
            assert not is_read(read, each), each
    cut = [each for each in found if each and value.startswith(each)]
    ways = [
        found.count(b""),
        len(cut),
        sum(len(each) == len(value) - 1 and each not in cut for each in found),
        sum(len(each) == len(value) for each in found),
    ]
    assert min(ways) > 600
    assert max(map(len, cut)) > len(value) - 10
    assert min(map(len, cut)) < 10


@given(faults(), SEEDS)
def test_none_of_the_numbers_is_another_kinds(configured: FaultSettings, seed: int) -> None:
    drawn = Faults.of(configured, seed).of_sales(PRODUCT, np.arange(1, 300))
    never = [kind for kind, name in enumerate(FAULTS, 1) if not getattr(configured, name)]
    assert not np.isin(drawn.kinds, never).any()
    assert set(drawn.kinds.tolist()) <= {NONE, LATE, DUPLICATE, DROPPED, OUT_OF_ORDER, CORRUPT}
