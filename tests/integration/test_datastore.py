"""The copy of the inventory in a datastore: equal to the table in the end, whatever died in between."""

import json
import signal
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import datastores
from support.datastores import PostgreSQLServer, Row, Server
from support.shop import Shop, Worker


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    (folder := tmp_path / "store").mkdir()
    server = datastores.start(getattr(request, "param", "postgresql"), folder)
    yield server
    server.close()


def kept_in(shop: Shop, url: str) -> Shop:
    shop.environment |= datastores.CREDENTIALS
    return shop.configure(DATASTORE_URL=url)


# --- What it has to be equal to: three independent tellers of the same thing


def of_view(worker: Worker) -> dict[str, Row]:
    """What the views show of each product, those that were not sold included."""
    shown = {row["product_id"]: row for row in worker.get("/inventory/")["inventory"]}
    found = {}
    for product in worker.get("/products/"):
        product_id = product["product_id"]
        found[product_id] = row(product, shown.get(product_id) or worker.get(f"/inventory/{product_id}/"))
    return found


def of_topics(shop: Shop) -> dict[str, Row]:
    """What the topics come to: each product's first level, less what was sold, and what was delivered."""
    change: defaultdict[str, int] = defaultdict(int)
    sales: defaultdict[str, list[str]] = defaultdict(list)
    for purchase in shop.purchases():
        change[purchase["product_id"]] -= purchase["quantity"]
        sales[purchase["product_id"]].append(purchase["transaction_time"])
    for stocking in shop.messages("stockings"):
        change[stocking["product_id"]] += stocking["stock_quantity"]
    found = {}
    for product in shop.messages("products"):
        product_id = product["product_id"]
        level = product["inventory"] + change[product_id]
        times = sales[product_id]
        found[product_id] = row(product, {"level": level, "sales": len(times), "last_sale": max(times, default="")})
    return found


def of_changelog(shop: Shop) -> dict[str, Row]:
    """What the table is recovered from, of the products that were sold."""
    products = {product["product_id"]: product for product in shop.messages("products")}
    latest = {record.key.decode(): json.loads(record.value) for record in shop.read(f"{shop.name}-inventory-changelog")}
    return {product_id: row(products[product_id], level) for product_id, level in latest.items()}


def row(product: dict[str, Any], level: dict[str, Any]) -> Row:
    columns = {name: product[name] for name in ("product_id", "item", "category")}
    columns |= {"price": round(product["price"] * 100), "level": level["level"], "sales": level["sales"]}
    return columns | {"last_sale": level["last_sale"] or None}


def of_datastore(server: Server, url: str) -> dict[str, Row]:
    rows = server.rows(url)
    assert len({row.pop("shop_opened") for row in rows.values()}) <= 1
    return rows


def sold(rows: dict[str, Row]) -> int:
    return sum(row["sales"] for row in rows.values())


def worker_sells(worker: Worker) -> bool:
    return bool(worker.get("/inventory/")["inventory"])


# --- Chaos


@pytest.mark.parametrize("server", ["sqlite", "postgresql", "dynamodb"], indirect=True)
def test_each_row_equals_the_table_after_workers_and_datastore_were_killed(
    kafka: Kafka, shop: Shop, server: Server
) -> None:
    url = server.new()
    # An hour is over in a minute, and in the middle of it the shop closes: then there is something to compare.
    begins = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    hours = f"{begins:%H:%M}-{begins + timedelta(minutes=30):%H:%M}"
    kept_in(shop.on(kafka.bootstrap_servers), url).configure(
        CLOCK_START="1h", CLOCK_SPEED="60", HOURS_EVERY_DAY=hours, SALES_MAX_SALE_FREQ="0.12", KAFKA_PARTITIONS="4"
    )
    # So that shelves are empty now and again, and are filled by what comes late.
    shop.configure(SUPPLY_LEAD_TIME="1m - 3m - 9m", INVENTORY_RESTOCK_AMOUNT="2000", INVENTORY_MIN_INVENTORY="300")

    frozen, killed = shop.worker(), shop.worker()
    frozen.until(lambda: len(frozen.owned()) == len(killed.owned()) == 2, "half of the partitions for each")
    frozen.until(lambda: sold(server.rows(url)) > 500, "rows")

    server.kill()  # before: who is frozen in the middle of a transaction keeps SQLite's file for himself
    frozen.process.send_signal(signal.SIGSTOP)  # it has rows in its hands, and writes them when it goes on
    try:
        third = shop.worker()
        third.until(lambda: len(killed.owned()) + len(third.owned()) == 4, "all partitions for the others")
        before = len(shop.purchases())
        third.until(lambda: len(shop.purchases()) > before, "sales without a datastore")
        killed.kill()  # with all that it has not written
        server.start()
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    third.until(lambda: len(third.owned()) + len(frozen.owned()) == 4, "all partitions for the two that are left")
    server.kill()
    server.start()

    def is_equal() -> bool:
        rows = of_datastore(server, url)
        return rows == of_view(third) and rows == of_topics(shop)

    third.until(is_equal, "rows that are equal to the table and to what the topics come to")
    rows = of_datastore(server, url)
    assert of_changelog(shop) == {product_id: row for product_id, row in rows.items() if row["sales"]}
    assert len(rows) == 27
    assert [worker.stop() for worker in (frozen, third)] == [0, 0]
    assert of_datastore(server, url) == rows
    assert shop.messages("lost_sales")


# --- A datastore that is away, or will not have us


def state(worker: Worker) -> dict[str, Any]:
    found: dict[str, Any] = worker.get("/health/")["datastore"]
    return found


def metrics(worker: Worker) -> dict[str, float]:
    with urllib.request.urlopen(worker.web + "/metrics", timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return {family.name: family.samples[0].value for family in families if "datastore" in family.name}


def test_a_datastore_that_is_away_delays_itself_alone(kafka: Kafka, shop: Shop, server: PostgreSQLServer) -> None:
    url = server.new()
    server.kill()
    kept_in(shop.on(kafka.bootstrap_servers), url).configure(SALES_MIN_SALE_FREQ="1", SALES_MAX_SALE_FREQ="2")
    worker = shop.worker()
    worker.until(lambda: worker_sells(worker), "a sale")
    worker.until(lambda: metrics(worker)["yasdg_datastore_failures"] >= 2, "two attempts")
    away = state(worker)
    assert (away["state"], away["rows_waiting"]) == ("failing", 27)
    assert away["lag_seconds"] > 0
    assert metrics(worker)["yasdg_datastore_rows_waiting"] == 27
    assert worker.get("/ready/")["ready"]  # whoever restarts workers has nothing to do
    assert worker.said.count("does not take the inventory") == 1

    server.start()
    worker.until(lambda: of_datastore(server, url) == of_view(worker), "rows of all products, sold or not")
    worker.until(lambda: state(worker) == {"state": "up_to_date", "rows_waiting": 0, "lag_seconds": 0}, "quiet")
    assert worker.said.count("takes the inventory again") == 1
    assert metrics(worker)["yasdg_datastore_rows_written"] >= 27

    unsold = next(row["product_id"] for row in server.rows(url).values() if not row["sales"])
    server.forget(url, unsold)
    server.kill()
    server.start()  # as from a backup that lacks it
    worker.until(lambda: of_datastore(server, url) == of_view(worker), "what was lost with the datastore")
    assert worker.stop() == 0
    assert datastores.PASSWORD not in worker.said
    assert datastores.IN_AN_ADDRESS not in worker.said


def test_a_datastore_that_hangs_delays_itself_alone(kafka: Kafka, shop: Shop, server: PostgreSQLServer) -> None:
    url = server.new()
    kept_in(shop.on(kafka.bootstrap_servers), url).configure(SALES_MIN_SALE_FREQ="0.004", SALES_MAX_SALE_FREQ="0.006")
    worker = shop.worker()
    worker.until(lambda: sold(server.rows(url)) > 200, "rows")
    server.pause()
    try:
        began = latest = len(shop.purchases())

        def is_given_up() -> bool:
            nonlocal latest
            sales = len(shop.purchases())
            if metrics(worker)["yasdg_datastore_failures"]:
                return True
            latest = sales  # and the first attempt goes on
            return False

        worker.until(is_given_up, "an attempt that is given up, after 10 s")
        assert latest - began > 500  # of 2,000
    finally:
        server.resume()
    worker.until(lambda: state(worker)["state"] != "failing", "a datastore that takes rows again")
    assert worker.stop() == 0
    assert of_datastore(server, url) == of_topics(shop)


def test_a_datastore_that_refuses_us_ends_the_start_in_one_line(
    kafka: Kafka, shop: Shop, server: PostgreSQLServer
) -> None:
    address = server.address(server.new().rpartition("/")[2], password="my-mistake")
    worker = kept_in(shop.on(kafka.bootstrap_servers), address).worker()
    assert worker.ends() == 1
    (line,) = [line.strip() for line in worker.said.splitlines() if "yasdg: " in line]
    where = address.rpartition("@")[2]
    assert line.endswith(f'yasdg: PostgreSQL at {where}: password authentication failed for user "shop".')
    assert "Traceback" not in worker.said
    assert "my-mistake" not in worker.said


# --- At the end


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_a_worker_that_is_stopped_leaves_the_datastore_as_the_table(kafka: Kafka, shop: Shop, server: Server) -> None:
    url = server.new()
    worker = kept_in(shop.on(kafka.bootstrap_servers), url).configure(SALES_MAX_SALE_FREQ="0.002").worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"] and sold(server.rows(url)) > 1000, "rows")
    assert worker.stop() == 0
    assert of_datastore(server, url) == of_topics(shop)


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_of_two_shops_in_one_place_the_one_that_was_opened_later_stays(
    kafka: Kafka, shop: Shop, server: Server, tmp_path: Path
) -> None:
    url = server.new()
    first = kept_in(shop.on(kafka.bootstrap_servers), url).worker()
    first.until(lambda: worker_sells(first), "a sale")
    (folder := tmp_path / "second").mkdir()
    second_shop = kept_in(Shop(folder, f"{shop.name}-second").on(kafka.bootstrap_servers), url)
    try:
        second = second_shop.worker()
        first.until(lambda: "of a shop that was opened later" in first.said, "a warning")
        assert second.stop() == 0
        assert first.stop() == 0
        assert of_datastore(server, url) == of_topics(second_shop)
        assert first.said.count("of a shop that was opened later") == 1
    finally:
        second_shop.close()
