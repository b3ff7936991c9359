"""Whatever the division of a stream among workers: what they say together is what one would say who had all of it."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yasdg_app.web import reconcile as merging
from yasdg_app.web.reconcile import JOINING, UNASSIGNED, reconcile
from yasdg_app.web.results import (
    PartialLevels,
    PartialResult,
    PartialSales,
    PartialSnapshot,
    ProductLine,
    SalesCount,
    SalesHistory,
    Totals,
    WindowSales,
    WorkerState,
)

PARTITIONS = 4
HOMES = [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]  # of ten products, by their places
CATEGORIES = ["A", "B", "A", "C", "B", "A", "A", "C", "B", "A"]
IDS = [f"P{place}" for place in range(len(HOMES))]
PLACES = {product_id: place for place, product_id in enumerate(IDS)}
MINUTES = 3

owners = st.lists(st.integers(0, 2), min_size=PARTITIONS, max_size=PARTITIONS)
"""The worker of each partition."""
counts = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=len(IDS), max_size=len(IDS))


def own(of: list[int], worker: int) -> list[int]:
    return [partition for partition, owner in enumerate(of) if owner == worker]


def places(partitions: list[int]) -> list[int]:
    return [place for place, home in enumerate(HOMES) if home in partitions]


# --- Which shares belong together ---


@given(owners)
def test_workers_of_one_generation_make_the_whole(of: list[int]) -> None:
    answers = {f"w{worker}": PartialResult(7, own(of, worker)) for worker in range(3)}
    found = reconcile(answers, {url: share.partitions for url, share in answers.items()}, PARTITIONS)
    assert found.partitions == list(range(PARTITIONS))
    assert (found.missing, found.silent) == ([], {})


@given(owners, st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2)))
def test_what_is_not_said_is_missing_once_and_with_its_reason(
    of: list[int], silent: set[int], joining: set[int], old: set[int]
) -> None:
    def said(worker: int) -> PartialResult | str:
        if worker in silent:
            return "does not answer"
        if worker in joining:
            return PartialResult(None, [])
        return PartialResult(6 if worker in old else 7, own(of, worker))

    answers = {f"w{worker}": said(worker) for worker in range(3)}
    found = reconcile(answers, {f"w{worker}": own(of, worker) for worker in range(3)}, PARTITIONS)
    missing = [partition for each in found.missing for partition in each.partitions]
    assert sorted(found.partitions + missing) == list(range(PARTITIONS))
    speaking = {worker for worker in range(3) if worker not in silent | joining}
    newest = speaking - old or speaking
    assert found.partitions == sorted(partition for worker in newest for partition in own(of, worker))
    for each in found.missing:
        assert each.url is not None
        assert each.partitions == own(of, int(each.url[1:]))
        assert each.why == ("does not answer" if int(each.url[1:]) in silent else JOINING)


def test_what_nobody_has_is_missing() -> None:
    found = reconcile({"w0": PartialResult(1, [0])}, {"w0": [0]}, 3)
    assert found.missing == [([1, 2], None, UNASSIGNED)]


def test_a_worker_that_is_reached_by_two_addresses_counts_once() -> None:
    found = reconcile({"w0": PartialResult(1, [0, 1]), "w1": PartialResult(1, [0, 1])}, {"w0": [0, 1], "w1": [2]}, 3)
    assert found.partitions == [0, 1]
    assert len(found.owning) == 1
    assert found.missing == [([2], "w1", JOINING)]


def test_whoever_was_assigned_more_lately_is_believed() -> None:
    # The one who asks has not heard yet that its partitions went to the other one.
    found = reconcile({"w0": PartialResult(3, [0, 1]), "w1": PartialResult(4, [0, 1, 2])}, {"w0": [0, 1], "w1": [2]}, 3)
    assert (found.partitions, found.missing) == ([0, 1, 2], [])
    assert found.parts["w0"].partitions == []


# --- What they come to ---


@given(owners, st.integers(1, 12), st.sampled_from(["", *IDS]))
def test_parts_of_the_table_are_those_of_the_whole(of: list[int], limit: int, after: str) -> None:
    first = PLACES[after] + 1 if after else 0
    rows = [(place, {"product_id": IDS[place]}) for place in range(first, len(IDS))]

    def share(worker: int) -> PartialLevels:
        mine = places(own(of, worker))
        return PartialLevels(1, own(of, worker), [row for row in rows if row[0] in mine][: limit + 1])

    found, more = merging.merge_levels(map(share, range(3)), limit)
    assert found == [row for _, row in rows[:limit]]
    assert more == (len(rows) > limit)


def by_category(rows: list[SalesCount]) -> list[SalesCount]:
    names = sorted(set(CATEGORIES))
    sums = {name: [0, 0, 0] for name in names}
    for row in rows:
        for column, value in enumerate((row.sales, row.units, row.cents)):
            sums[CATEGORIES[row.place]][column] += value
    present = {CATEGORIES[row.place] for row in rows}
    return [SalesCount(names.index(name), name, *sums[name]) for name in names if name in present]


@given(owners, counts, st.integers(1, 12))
def test_sales_are_those_of_the_whole(of: list[int], sold: list[tuple[int, int, int]], limit: int) -> None:
    rows = [SalesCount(place, IDS[place], *count) for place, count in enumerate(sold) if count[0]]
    theirs = [[row for row in rows if row.place in places(own(of, worker))] for worker in range(3)]
    found, more = merging.merge_sales([each[: limit + 1] for each in theirs], limit)
    assert (found, more) == (rows[:limit], len(rows) > limit)
    found, more = merging.merge_sales([by_category(each)[: limit + 1] for each in theirs], limit)
    assert (found, more) == (by_category(rows)[:limit], len(by_category(rows)) > limit)


def live(partitions: list[int], sold: list[tuple[int, int, int]], through: int | None = 180) -> PartialSnapshot:
    """The share of a worker; each product's sales, units and cents are those of each window and each minute."""
    mine = places(partitions)
    rows = [SalesCount(place, IDS[place], *sold[place]) for place in mine if sold[place][0]]
    in_all = {row.key: (row.sales, row.units, row.cents) for row in by_category(rows)}
    window = WindowSales(in_all, merging.best_sellers(rows))
    series = {name: [(count[0], count[2])] * MINUTES for name, count in in_all.items()}
    messages = [{"event_time": f"{sold[place][1]}", "id": IDS[place]} for place in mine]
    return PartialSnapshot(
        generation=1,
        partitions=partitions,
        state=WorkerState(ready=True, reasons=[], lag=0, rate=0.0, behind=0.0),
        complete_from=min(partitions, default=None),
        complete_through=None if not partitions else 1000 + min(partitions),
        totals=Totals(*(sum(sold[place][column] for place in mine) for column in (0, 1, 2, 1, 0))),
        products=[line(place, sold[place][0]) for place in mine],
        past=None if through is None else SalesHistory(0, through, {"hour": window}, series),
        restocks=merging.latest([messages], "id"),
        lost_sales=[],
    )


def line(place: int, sales: int) -> ProductLine:
    return ProductLine(IDS[place], "Item", CATEGORIES[place], 1, 1, 1, 1, 0, None, None, sales, 0, 0.0, 0)


@given(owners, counts)
def test_the_page_shows_what_one_worker_would(of: list[int], sold: list[tuple[int, int, int]]) -> None:
    alone = [live(list(range(PARTITIONS)), sold)]
    shares = [live(own(of, worker), sold) for worker in range(3)]
    assert merging.merge_totals(shares) == merging.merge_totals(alone)
    assert merging.merge_products(shares, PLACES) == merging.merge_products(alone, PLACES)
    assert merging.merge_history(shares) == merging.merge_history(alone) == alone[0].past
    assert merging.latest([each.restocks for each in shares], "id") == alone[0].restocks
    assert merging.complete_through(shares) == 1000
    assert merging.complete_from(shares) == max(min(each) for worker in range(3) if (each := own(of, worker)))


def test_best_sellers_stand_first() -> None:
    found: Any = merging.merge_products([live([0, 1, 2, 3], [(place % 4, 0, 0) for place in range(10)])], PLACES)
    assert [each.product_id for each in found] == ["P3", "P7", "P2", "P6", "P1", "P5", "P9", "P0", "P4", "P8"]


def test_the_past_is_known_only_if_all_tell_of_the_same_minutes() -> None:
    sold = [(1, 1, 1)] * 10
    assert merging.merge_history([live([0], sold), live([1, 2, 3], sold, through=None)]) is None
    assert merging.merge_history([live([0], sold), live([1, 2, 3], sold, through=240)]) is None
    assert merging.merge_history([]) is None


def test_where_nobody_has_anything_nothing_is_known() -> None:
    assert merging.complete_through([]) is None
    assert merging.complete_from([PartialSales(1, [0], None, None, [])]) is None
    assert merging.merge_totals([]) == Totals()


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 10))
def test_the_largest_are_found_the_first_among_equals(values: list[int], most: int) -> None:
    found = merging.largest(np.array(values, np.int64), most).tolist()
    assert sorted(found) == sorted(sorted(range(len(values)), key=lambda at: (-values[at], at))[:most])
