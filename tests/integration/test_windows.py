"""What the workers know together of the last minute, hour and day is what the topics say, whoever died meanwhile."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from support.shop import Shop, Worker
from support.small_shops import DAY, HOUR, MINUTE

from yasdg_app.config import catalog
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.times import event_time

CATEGORIES = {
    product.product_id: product.category for product in catalog.load(Path(__file__).parents[2] / "products.csv")
}
PARTITIONS = 8
SHOWN = 3 * HOUR


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


Windows = list[dict[str, Any]]
"""What each worker shows."""


def asked(workers: Sequence[Worker], through: int) -> Windows:
    return [worker.get(f"/windows/?through={through}") for worker in workers]


def with_products() -> set[str]:
    return {str(default_partition(product_id, PARTITIONS)) for product_id in CATEGORIES}


def are_whole(shown: Windows) -> int:
    """The last minute's end at which all partitions are told of, each by one worker, and a day before it; 0 if none."""
    told = [partition for one in shown for partition in one["complete_through"]]
    if sorted(told) != sorted(with_products()):
        return 0
    through = min(at for one in shown for at in one["complete_through"].values()) // MINUTE * MINUTE
    begins = max(at for one in shown for at in one["products_from"].values())
    return through if begins <= through - DAY else 0


def until_whole(workers: Sequence[Worker], after: int) -> int:
    """Wait until what is told of is whole, and later than some event time; return up to when it is."""

    def look() -> int:
        whole = are_whole(asked(workers, after))
        return whole if whole > after else 0

    return int(workers[0].until(look, "the windows of all partitions", 120))


def union(shown: Windows, of: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """What all say of products; no two of the same."""
    assert max(Counter(key for one in shown for key in of(one)).values()) == 1
    return {key: value for one in shown for key, value in of(one).items()}


def added(sales: Sequence[dict[str, Any]]) -> list[int]:
    cents = sum(round(sale["total_purchase"] * 100) for sale in sales)
    return [len(sales), sum(sale["quantity"] for sale in sales), cents]


def grouped(sales: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> dict[Any, list[int]]:
    groups = defaultdict(list)
    for sale in sales:
        groups[key(sale)].append(sale)
    return {name: added(own) for name, own in groups.items()}


def check(shop: Shop, workers: Sequence[Worker], after: int = 0) -> int:
    """All that the workers show is what the topics say; return the event time up to which it was looked at."""
    through = until_whole(workers, after)
    told_before = {what: by_partition(shop, what) for what in ("stockings", "lost_sales")}
    shown = asked(workers, through)
    sales = [(event_time(sale["transaction_time"]), sale) for sale in shop.purchases()]
    for window, length in (("minute", MINUTE), ("hour", HOUR), ("day", DAY)):
        own = [sale for at, sale in sales if through - length <= at < through]
        assert own
        wanted = grouped(own, lambda sale: sale["product_id"])
        assert union(shown, lambda one, window=window: one["sums"][window]) == wanted  # type: ignore[misc]
    wanted = grouped(
        [sale | {"at": at} for at, sale in sales if through - SHOWN <= at < through],
        lambda sale: (CATEGORIES[sale["product_id"]], (sale["at"] - through + SHOWN) // MINUTE),
    )
    for category in set(CATEGORIES.values()):
        series = [[sum(sums) for sums in zip(*all_of, strict=True)] for all_of in zip(
            *(one["series"][category] for one in shown), strict=True
        )]  # fmt: skip
        assert series == [wanted.get((category, minute), [0, 0, 0]) for minute in range(SHOWN // MINUTE)]
    for what, name in (("stockings", "restocks"), ("lost_sales", "lost_sales")):
        now = by_partition(shop, what)
        for one in shown:
            assert one[name] == sorted(one[name], key=lambda told: told["event_time"], reverse=True)
        for partition, log in now.items():
            own = [
                told
                for one in shown
                for told in one[name]
                if default_partition(told["product_id"], PARTITIONS) == partition
            ]
            ends = range(len(told_before[what][partition]), len(log) + 1)  # some came while we asked
            assert in_order(own) in [in_order(log[max(0, end - 50) : end]) for end in ends]
    return through


def in_order(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A delivery has the time when it was due, and is told of at the next sale: the log is in another order."""
    return sorted(told, key=lambda one: str(one))


def by_partition(shop: Shop, what: str) -> dict[int, list[dict[str, Any]]]:
    told: dict[int, list[dict[str, Any]]] = {partition: [] for partition in range(PARTITIONS)}
    for message in shop.messages(what):
        told[default_partition(message["product_id"], PARTITIONS)].append(message)
    return told


def test_the_windows_of_all_workers_are_what_the_topics_say(kafka: Kafka, shop: Shop) -> None:
    """While a past is made up for a worker dies; then one comes, and one is stopped."""
    shop.on(kafka.bootstrap_servers).configure(
        CLOCK_START="40h", CLOCK_SPEED="5000", SALES_MAX_SALE_FREQ="1.5", KAFKA_PARTITIONS=str(PARTITIONS)
    )
    shop.configure(SUPPLY_LEAD_TIME="1m - 10m - 30m", INVENTORY_RESTOCK_AMOUNT="400")  # so that sales are lost
    workers = [shop.worker("shows_windows.py") for _ in range(3)]

    def sold() -> int:
        return len(shop.read(shop.topic("purchases")))

    workers[0].until(lambda: workers[0].get("/inventory/")["inventory"] and sold() > 80_000, "most of the past")
    workers.pop().kill()
    through = check(shop, workers)
    workers.append(shop.worker("shows_windows.py"))
    workers[-1].until(lambda: workers[-1].get("/inventory/").get("partitions"), "a share for the new one")
    through = check(shop, workers, through)
    assert workers.pop(0).stop() == 0
    check(shop, workers, through)
    for worker in workers:
        assert "cannot be read again" not in worker.said
