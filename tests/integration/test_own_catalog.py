"""A shop whose products have any ids: through topics, table, takeover, views, datastore, incidents and audit."""

import csv
import json
import sqlite3
from typing import Any, Protocol
from unicodedata import normalize
from urllib.parse import quote

import pytest
from oracles.simulation import as_simulated
from support.product_ids import ODD
from support.shop import Shop, yasdg

SECONDS = 120


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def with_odd_ids(shop: Shop, kafka: Kafka, **values: str) -> Shop:
    with (shop.folder / "odd.csv").open("w", encoding="utf-16", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(("Price", "Item", "ID", "Category"))
        rows.writerows(("4,99", f"Item {at}", normalize("NFD", each), f"{at % 3}") for at, each in enumerate(ODD))
    shop.on(kafka.bootstrap_servers).configure(SALES_PRODUCTS=str(shop.folder / "odd.csv"))
    return shop.configure(
        DATASTORE_URL=f"sqlite:///{shop.folder}/store.db", SALES_MIN_SALE_FREQ=".01", SALES_MAX_SALE_FREQ=".03",
        SALES_SUBSTITUTION_FREQ="8", SUPPLY_LEAD_TIME="10s - 30s - 2m", **values,
    )  # fmt: skip


@pytest.mark.parametrize("time", ["sql", "iso-z"])
def test_any_id_goes_everywhere_and_through_a_death(kafka: Kafka, shop: Shop, time: str) -> None:
    with_odd_ids(shop, kafka, FORMAT_TIME=time)
    shop.configure(CLOCK_START="2026-06-01", CLOCK_END="10m", CLOCK_SPEED="20", FAULTS_DUPLICATE=".01")
    workers = [shop.worker() for _ in range(3)]
    workers[0].until(lambda: len(workers[0].get("/inventory/")["inventory"]) == len(ODD), "sales of all")
    workers[2].kill()
    for worker in workers[:2]:
        assert worker.ends(SECONDS) == 0, worker.said
    if time == "sql":
        as_simulated(shop, ("incidents",))
    audited = yasdg(shop, "audit", "--json")
    assert audited.returncode == 0, audited.stdout
    assert {product["product_id"] for product in shop.messages("products")} == set(ODD)
    with sqlite3.connect(shop.folder / "store.db") as store:
        assert {product_id for (product_id,) in store.execute("SELECT product_id FROM inventory")} == set(ODD)


def test_any_id_can_be_asked_for_and_have_an_incident(kafka: Kafka, shop: Shop) -> None:
    worker = with_odd_ids(shop, kafka).worker()
    worker.until(lambda: len(worker.get("/inventory/")["inventory"]) == len(ODD), "sales of all")
    for form in ("NFC", "NFD"):
        shown = [worker.get(f"/inventory/{quote(normalize(form, each), safe='')}/") for each in ODD]  # type: ignore[arg-type]
        assert [row["product_id"] for row in shown] == list(ODD)

    def pages(path: str) -> list[Any]:
        found: list[Any] = []
        while path:
            told = worker.get(path)
            found += told[path.split("/")[1]]
            path = told["next"]
        return found

    assert [row["product_id"] for row in pages("/inventory/?limit=7")] == list(ODD)

    def whole_day() -> Any:
        told = worker.get("/sales/?window=day&by=product")
        return told["through"] if len(told["sales"]) == len(ODD) else None

    # Named in the pages: without it, a page may be of a minute earlier, in which less was sold.
    through = quote(worker.until(whole_day, "a minute with sales of all")[:16])
    sales = pages(f"/sales/?window=day&by=product&limit=7&through={through}")
    assert [row["product_id"] for row in sales] == list(ODD)
    named = [argument for each in ODD for argument in ("--product", normalize("NFD", each))]
    added = yasdg(shop, "incident", "add", "all", "--kind", "storm", "--json", *named)
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["products"] == sorted(ODD)
    assert "storm of" in yasdg(shop, "incident").stdout
    audited = yasdg(shop, "audit", "--json", "--table", worker.web)
    assert audited.returncode == 0, audited.stdout
    assert json.loads(audited.stdout)["table_rows"] == len(ODD)
    assert worker.stop() == 0
