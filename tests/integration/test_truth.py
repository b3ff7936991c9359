"""An engine comes to `yasdg truth` by the topics alone: DuckDB, after a storm, a dead supply and a kill."""

import json
import time
from pathlib import Path
from typing import Any, Protocol

import duckdb
from support.shop import Shop, yasdg

from yasdg_app.messages.times import event_time


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


DAY = """
[SALES]
min_sale_freq = 0
max_sale_freq = 3
substitution_freq = 4
[INVENTORY]
min_inventory = 150
restock_amount = 300
[CLOCK]
start = 2026-06-03
end = 2026-06-04
speed = 5000
[SUPPLY]
lead_time = 10m - 30m - 2h
partial_freq = 3
[INCIDENT storm]
kind = storm
start = 2026-06-03 05:00
duration = 4h
ramp_up = 30m
ramp_down = 1h
[INCIDENT no-deliveries]
kind = supply
start = 2026-06-03 11:00
duration = 5h
[INCIDENT happy-hour]
kind = promotion
start = 2026-06-03 18:00
duration = 2h
discount = .15
categories = Classic Smoothies
"""
COLUMNS = {
    "sales": "sum(sales)", "units": "sum(units)", "revenue": "sum(revenue)", "members": "sum(members)",
    "supplements": "sum(supplements)", "discount": "sum(discount)", "cost": "sum(cost)",
    "restocks": "sum(restocks)", "restocked_units": "sum(restocked)", "lost_sales": "sum(lost_sales)",
    "lost_units": "sum(lost)",
}  # fmt: skip
BY = {"product": "product_id", "category": "category"}

# All that happened, one row each; an engine reads amounts from JSON as decimals.
HAPPENED = """
create table happened as
select cast(transaction_time as timestamp) as happened_at, product_id, 1 as sales, quantity as units, quantity as sold,
    cast(total_purchase as decimal(18, 2)) as revenue, is_member::int as members, add_supplements::int as supplements,
    cast(quantity * (cast(price as decimal(18, 2)) + cast(supplement_price as decimal(18, 2)))
        - cast(total_purchase as decimal(18, 2)) as decimal(18, 2)) as discount,
    cast(total_cost as decimal(18, 2)) as cost, 0 as restocks, 0 as restocked, 0 as lost_sales, 0 as lost
from read_json('{folder}/purchases.jsonl', format = 'newline_delimited')
union all
select cast(event_time as timestamp), product_id, 0, 0, 0, 0, 0, 0, 0, 0, 1, stock_quantity, 0, 0
from read_json('{folder}/stockings.jsonl', format = 'newline_delimited')
union all
select cast(event_time as timestamp), product_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, quantity
from read_json('{folder}/lost_sales.jsonl', format = 'newline_delimited');
create table products as select * from read_json('{folder}/products.jsonl', format = 'newline_delimited')
"""
SUMS = """
with keyed as (select * from happened join products using (product_id)),
opening as (select {key} as key, sum(inventory) as inventory from products group by 1),
sums as (
    select time_bucket(interval '{window}', happened_at) as window_start, {key} as key, {sums},
        sum(restocked) - sum(sold) as change
    from keyed group by 1, 2
)
select window_start, key as {key}, {columns},
    inventory + sum(change) over (partition by key order by window_start) as closing_stock
from sums join opening using (key) order by 1, 2
"""


def consume(shop: Shop) -> None:
    """All topics as files, by a consumer that knows nothing of ours."""
    for what in ("products", "purchases", "stockings", "lost_sales"):
        lines = [record.value for record in shop.read(shop.topic(what))]
        assert lines
        (shop.folder / f"{what}.jsonl").write_bytes(b"".join((line or b"") + b"\n" for line in lines))


def sums(folder: Path, by: str, window: str) -> tuple[list[str], list[Any]]:
    """What DuckDB makes of the files."""
    engine = duckdb.connect()
    for statement in HAPPENED.format(folder=folder).split(";"):
        engine.execute(statement)
    columns = ", ".join(f"{sql} as {name}" for name, sql in COLUMNS.items())
    query = SUMS.format(key=BY[by], window=window, sums=columns, columns=", ".join(COLUMNS))
    rows = engine.execute(query)
    names = [column[0] for column in rows.description]
    return names, rows.fetchall()


def written(path: Path, names: list[str]) -> list[Any]:
    """What a file of Parquet holds, as DuckDB reads it."""
    columns = ", ".join("(window_start at time zone 'UTC')" if n == "window_start" else n for n in names)
    return duckdb.sql(f"select {columns} from '{path}' order by 1, 2").fetchall()


def test_duckdb_comes_to_the_truth_to_the_cent_after_a_storm_a_dead_supply_and_a_kill(kafka: Kafka, shop: Shop) -> None:
    (shop.folder / "day.ini").write_text(DAY)
    shop.on(kafka.bootstrap_servers).configured_by(shop.folder / "day.ini").configure(KAFKA_PARTITIONS="6")
    workers = [shop.worker() for _ in range(3)]
    workers[0].until(lambda: all(worker.get("/inventory/")["inventory"] for worker in workers), "three with a share")
    workers[0].until(lambda: len(shop.purchases()) > 5_000, "the first hours")
    workers[1].kill()
    at_the_kill = len(shop.purchases())
    for worker in (workers[0], workers[2]):
        assert worker.ends(300) == 0, worker.said
    consume(shop)
    assert len(shop.purchases()) > at_the_kill  # it died in the middle of it

    for by in BY:
        for window in ("1 minute", "1 hour"):
            length = {"1 minute": "1m", "1 hour": "1h"}[window]
            path = shop.folder / f"{by}-{length}.parquet"
            told = yasdg(shop, "truth", "--by", by, "--window", length, "-o", str(path))
            assert told.returncode == 0, told.stderr
            assert f"the shop on {kafka.bootstrap_servers}" in told.stderr
            names, wanted = sums(shop.folder, by, window)
            assert written(path, names) == wanted
            assert wanted
    _, (*_, by_day) = sums(shop.folder, "product", "1 day")
    for name in COLUMNS:  # none of the columns is empty
        assert sum(row[2 + list(COLUMNS).index(name)] for row in wanted), name
    assert by_day

    for what in ("purchases.jsonl", "product-1m.parquet"):
        verified = yasdg(shop, "verify", what)
        assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "No differences found."), verified
    lines = (shop.folder / "purchases.jsonl").read_bytes().splitlines(keepends=True)
    planted = [*lines[:100], *lines[101:], lines[7]]
    (shop.folder / "planted.jsonl").write_bytes(b"".join(planted))
    verified = yasdg(shop, "verify", "planted.jsonl", "--json")
    assert verified.returncode == 1, verified.stderr
    missing, double = (json.loads(lines[row])["transaction_id"] for row in (100, 7))
    found = {(each["kind"], each["transaction_id"]) for each in json.loads(verified.stdout)["findings"]}
    assert found == {("missing", missing), ("double", double)}


def behind_a_minute() -> str:
    """A duration from now on up to 15 s behind the begin of a minute: of one that an incident can begin at."""
    to_a_minute = 60 - time.time() % 60
    return f"{to_a_minute + 15 + (60 if to_a_minute < 30 else 0):.0f}s"


def test_an_incident_that_was_set_while_the_shop_ran_is_in_the_truth(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(CLOCK_END=behind_a_minute(), SALES_MAX_SALE_FREQ=".02")
    worker = shop.worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    added = yasdg(shop, "incident", "add", "sale", "--kind", "promotion", "--duration", "10m", "--discount", ".20")
    assert added.returncode == 0, added.stderr
    assert worker.ends(150) == 0, worker.said
    consume_purchases(shop)
    told = yasdg(shop, "truth", "--window", "1s", "-o", "truth.csv")
    assert (told.returncode, "set while it ran: sale" in told.stderr) == (0, True), told.stderr
    verified = yasdg(shop, "verify", "purchases.jsonl")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    # On paper nobody knows of it.
    opened_at = told.stderr.partition("opened ")[2][:26]
    on_paper = yasdg(shop, "verify", "purchases.jsonl", "--opened-at", opened_at)
    reduced = [sale for sale in shop.purchases() if sale["promotion_discount"]]
    assert (on_paper.returncode, bool(reduced)) == (1, True), on_paper.stdout + on_paper.stderr


def consume_purchases(shop: Shop) -> None:
    values = [record.value or b"" for record in shop.read(shop.topic("purchases"))]
    (shop.folder / "purchases.jsonl").write_bytes(b"".join(value + b"\n" for value in values))


def test_an_engine_on_the_dirty_topic_comes_to_what_it_has_to_see(kafka: Kafka, shop: Shop) -> None:
    """It reads in order of release, and leaves out whose window has ended by its watermark, ten seconds behind."""
    shop.on(kafka.bootstrap_servers).configure(CLOCK_START="2026-06-03 08:00", CLOCK_END="2h", CLOCK_SPEED="2000")
    shop.configure(SALES_MAX_SALE_FREQ="2", FAULTS_LATE_BY="5s - 3m", FAULTS_OUT_OF_ORDER_BY="20s")
    for kind in ("LATE", "DUPLICATE", "DROPPED", "OUT_OF_ORDER", "CORRUPT"):
        shop.configure(**{f"FAULTS_{kind}": ".02"})
    worker = shop.worker()
    assert worker.ends(300) == 0, worker.said
    faults = shop.messages("faults")
    released = {each["transaction_id"]: each["released_at"] for each in faults}
    read: list[tuple[str, str, str, dict[str, Any]]] = []
    lines = [record.value or b"" for record in shop.read(shop.topic("dirty"))]
    for value in lines:
        try:
            sale = json.loads(value)
        except ValueError:
            continue
        its = sale["transaction_id"]
        read.append((released.get(its, sale["transaction_time"]), sale["product_id"], its, sale))
    read.sort(key=lambda each: each[:3])
    sums: dict[tuple[int, str], list[int]] = {}
    latest, left_out = 0, []
    for _, product_id, its, sale in read:
        at = event_time(sale["transaction_time"])
        window = at // 60_000_000 * 60_000_000
        if latest - 10_000_000 >= window + 60_000_000:
            left_out.append(its)
        else:
            row = sums.setdefault((window, product_id), [0, 0, 0])
            row[0], row[1] = row[0] + 1, row[1] + sale["quantity"]
            row[2] += round(sale["total_purchase"] * 100)
        latest = max(latest, at)
    assert left_out
    text = [f"{window // 1000},{name},{n},{units},{cents / 100}" for (window, name), (n, units, cents) in sums.items()]
    (shop.folder / "sums.csv").write_text("\n".join(["window_start,product_id,sales,units,revenue", *text]) + "\n")
    verified = yasdg(shop, "verify", "sums.csv", "--window", "1m", "--allowed-lateness", "10s")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    impatient = yasdg(shop, "verify", "sums.csv", "--window", "1m", "--allowed-lateness", "0s", "--json")
    findings = json.loads(impatient.stdout)["findings"]
    assert "late" in {each["kind"] for each in findings}
    # Where a plain sale that was counted twice would come to the same, both are named.
    assert all("counted, although it arrived too late" in each["why"] for each in findings)
    assert all((each["kind"], bool(each["ids"])) in {("late", True), ("wrong", False)} for each in findings)

    # What came through the network, as rows: each fault is named by its own name, and all others are there.
    (shop.folder / "dirty.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    verified = yasdg(shop, "verify", "dirty.jsonl", "--json")
    report = json.loads(verified.stdout)
    found = {(each["kind"], each["transaction_id"], each["why"]) for each in report["findings"] if each["ids"]}
    wanted = {("missing", each["transaction_id"], each["kind"]) for each in faults if each["kind"] == "dropped"}
    wanted |= {("missing", each["transaction_id"], each["kind"]) for each in faults if each["kind"] == "corrupt"}
    wanted |= {("double", each["transaction_id"], each["kind"]) for each in faults if each["kind"] == "duplicate"}
    never = {sale["transaction_id"] for sale in shop.purchases()} - {its for _, _, its, _ in read}
    assert {each for each in found if each[0] != "late"} == wanted
    # What would have come when the shop had closed has never come.
    assert {its for kind, its, _ in found if kind == "late"} == never - {its for _, its, _ in wanted}
    corrupt = sum(each["kind"] == "corrupt" for each in faults)
    unreadable = [line for line in lines if line and not is_json(line)]
    assert report["kinds"].get("unreadable", 0) == len(unreadable) <= corrupt


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_the_embedded_broker_is_asked_if_there_is_a_shop_in_its_folder(shop: Shop) -> None:
    shop.embedded().configure(SALES_NUMBER_OF_SALES="300")
    told = yasdg(shop, "truth", "--window", "all")
    assert (told.returncode, "no shop was opened in" in told.stderr) == (0, True), told.stderr
    worker = shop.worker()
    assert worker.ends() == 0, worker.said
    told = yasdg(shop, "truth", "--window", "all")
    assert (told.returncode, f"from the shop on {shop.servers}" in told.stderr) == (0, True), told.stderr
    sales = [int(line.split(",")[3]) for line in told.stdout.splitlines()[1:]]
    assert sum(sales) == 300
    told = yasdg(shop.configure(SALES_SEED="43"), "truth")
    assert (told.returncode, told.stdout, "SALES.seed was 42, is 43" in told.stderr) == (1, "", True), told.stderr
