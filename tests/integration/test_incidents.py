"""What happens to a shop while it runs: set on one worker or at a terminal, it holds for all, and can be replayed."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Protocol

from oracles.simulation import plan_of, simulate
from support.shop import Shop, Worker, yasdg

from yasdg_app.config import catalog, settings
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.messages.ids import default_partition
from yasdg_app.messages.reference import announcement
from yasdg_app.messages.times import event_time

MINUTE = 60_000_000  # microseconds
SCOPE = "Superfoods Smoothies"
FLASH = {"name": "flash-sale", "kind": "promotion", "duration": "10m", "discount": 0.2, "categories": [SCOPE]}
CONFIGURED = """
[CLOCK]
time_zone = Europe/Berlin
[INCIDENT storm]
kind = storm
every = 1d
[INCIDENT summer-sale]
kind = promotion
start = 2199-07-01 08:00
factor = 2
discount = .2
"""


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def send(worker: Worker, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and body of an answer."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(worker.web + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def post(worker: Worker, **incident: object) -> tuple[int, Any]:
    return send(worker, "POST", "/incidents/", incident)


def end(worker: Worker, name: str) -> tuple[int, Any]:
    return send(worker, "DELETE", f"/incidents/{name}/")


def shown(worker: Worker) -> dict[str, Any]:
    return {incident["name"]: incident for incident in worker.get("/incidents/")["incidents"]}


def wait_for(worker: Worker, at: str) -> None:
    """Wait for a time on the shop's clock."""
    worker.until(lambda: worker.get("/incidents/")["now"] >= at, at)


def configure(shop: Shop, kafka: Kafka, text: str = CONFIGURED) -> Shop:
    (shop.folder / "configuration.ini").write_text(text)
    return shop.on(kafka.bootstrap_servers).configure(CONFIG=str(shop.folder / "configuration.ini"))


def as_replayed(shop: Shop) -> None:
    """The shop's stream is what its configuration and its control topic alone make, byte for byte."""
    plan, partitions = plan_of(shop), shop.partitions(shop.topic("purchases"))
    last = 0
    for partition, records in partitions.items():
        own = [
            product for product in plan.products if default_partition(product.product_id, len(partitions)) == partition
        ]
        if own:
            until = event_time(json.loads(records[-1].value or b"")["transaction_time"])
            assert [record.value for record in records] == simulate(plan, until, own).purchases, partition
            last = max(last, until)
    told = plan.incidents.announcements(plan.opened_at, last)
    assert shop.messages("incidents") == [announcement(at, phase, incident).asdict() for at, phase, incident in told]


def test_what_is_set_on_one_worker_holds_for_all_and_can_be_replayed(kafka: Kafka, shop: Shop) -> None:
    # Two simulated minutes a second, and two sales.
    configure(shop, kafka, "[CLOCK]\nstart = 2h\nspeed = 120\n").configure(SALES_MAX_SALE_FREQ="2")
    first, second = shop.worker(), shop.worker()

    def both_sell() -> bool:
        return first.owned() and second.owned() and bool(first.get("/inventory/")["inventory"])

    first.until(both_sell, "two workers that sell")
    status, outage = post(first, name="outage", kind="power_outage", duration="3h")
    assert (status, outage["source"], outage["state"]) == (201, "live", "ahead")
    assert post(second, **FLASH | {"name": "outage"})[0] == 409
    assert shown(second)["outage"] == outage
    wait_for(second, outage["start"])
    assert shown(first)["outage"]["state"] == "on"
    status, ended = end(second, "outage")
    assert status == 200
    assert ended["start"] == outage["start"] < ended["end"] < outage["end"]
    assert ended["end"].endswith(":00.000000")
    status, flash = post(first, **FLASH)
    assert status == 201
    assert flash["start"] >= ended["end"]
    wait_for(first, flash["end"][:15] + "9")  # some minutes later
    assert {name: incident["state"] for name, incident in shown(second).items()} == {
        "outage": "ended",
        "flash-sale": "over",
    }
    assert [worker.stop() for worker in (first, second)] == [0, 0]

    in_scope = {product.product_id for product in catalog.load(settings.SalesSettings().products)}
    in_scope = {product_id for product_id in in_scope if product_id.startswith("SF")}
    for sales in shop.partitions(shop.topic("purchases")).values():
        times = [json.loads(sale.value or b"")["transaction_time"] for sale in sales]
        assert not any(outage["start"] <= time < ended["end"] for time in times)
        if sales:
            assert times[0] < outage["start"]
            assert times[-1] >= ended["end"]
    after = [sale for sale in shop.purchases() if sale["transaction_time"] >= ended["end"]]
    resumed = min(event_time(sale["transaction_time"]) for sale in after)
    assert resumed < event_time(ended["end"]) + MINUTE
    cheap = 0
    for sale in shop.purchases():
        on = flash["start"] <= sale["transaction_time"] < flash["end"] and sale["product_id"] in in_scope
        assert sale["promotion_discount"] == (0.2 if on else 0), sale
        cheap += on
    assert cheap > 10
    told = [(told["incident"], told["phase"], told["event_time"]) for told in shop.messages("incidents")]
    assert told == [
        ("outage", "start", outage["start"]),
        ("outage", "end", ended["end"]),
        ("flash-sale", "start", flash["start"]),
        ("flash-sale", "end", flash["end"]),
    ]
    as_replayed(shop)


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no name": ({"kind": "storm"}, ["name: missing; expected a name"]),
    "name": ({"name": "a b", "kind": "storm"}, ["name = a b: expected a name"]),
    "kind": ({"name": "x"}, ["kind: missing; expected storm,"]),
    "near kind": ({"name": "x", "kind": "promotions"}, ["kind = promotions: expected", "did you mean promotion?"]),
    "several": (
        {"name": "x", "kind": "storm", "factor": -1, "discount": "half", "duration": "2 hours"},
        ["factor = -1: expected", "discount = half: expected", "duration = 2 hours: expected"],
    ),
    "types": (
        {"name": "x", "kind": True, "duration": ["1h"], "categories": [1], "factor": None},
        [
            "kind: expected a text",
            "duration: expected a text",
            "categories: expected a text or a list",
            "factor: expec",
        ],
    ),
    "ramps": ({"name": "x", "kind": "storm", "duration": "30m", "ramp_up": "40m"}, ["ramp_up = 40m: expected"]),
    "unknown": ({"name": "x", "kind": "storm", "factr": 1}, ["factr: unknown key; did you mean factor?"]),
    "every": ({"name": "x", "kind": "storm", "every": "1d"}, ["every = 1d: expected a start or nothing"]),
    "product": ({"name": "x", "kind": "storm", "products": ["SF1"]}, ["products: SF1 is not", "did you mean SF"]),
    "category": (
        {"name": "x", "kind": "storm", "categories": "Superfood Smoothies"},
        ["categories: Superfood Smoothies is not in the catalog", "did you mean Superfoods Smoothies?"],
    ),
    "too early": ({"name": "x", "kind": "storm", "start": "2020-01-01"}, ["start: 2020-01-01 00:00:00 is too early"]),
}


def test_what_cannot_be_set_or_ended_is_told_field_by_field(kafka: Kafka, shop: Shop) -> None:
    worker = configure(shop, kafka).worker()
    before = shown(worker)
    assert before["summer-sale"] == {
        "name": "summer-sale",
        "kind": "promotion",
        "start": "2199-07-01 06:00:00.000000",  # 08:00 in Berlin
        "end": "2199-07-01 07:00:00.000000",
        "ramp_up": 0,
        "ramp_down": 0,
        "categories": [],
        "products": [],
        "factor": 2,
        "discount": 0.2,
        "source": "configuration",
        "state": "ahead",
    }
    storms = [name for name in before if name.startswith("storm-")]
    assert storms, "of a week, one without a storm comes once in a thousand"
    for what, (incident, words) in BAD.items():
        status, body = post(worker, **incident)
        assert status == 400, what
        assert all(word in " ".join(body["problems"]) for word in words), body
        assert "\n" not in body["error"]
        if what in ("several", "types"):
            assert len(body["problems"]) == len(words), body
    for nonsense in (b"", b"{", b"\xff", b"[]", b'"x"'):
        status, body = send(worker, "POST", "/incidents/", nonsense)
        assert status == 400
        assert "object such as {" in body["error"]
    for name in ("summer-sale", "storm", storms[0], "storm-20260101T0000"):
        status, body = post(worker, **FLASH | {"name": name})
        assert (status, body["error"]) == (
            409, f"name: there is an incident {name} already. Choose another name"
        )  # fmt: skip
        status, body = end(worker, name)
        assert (status, body["error"]) == (
            409, f"name: {name} belongs to the configuration; it cannot be ended here"
        )  # fmt: skip
    assert end(worker, "nobody")[0] == 404
    assert shown(worker) == before
    assert shop.read(f"{shop.name}-control") == []

    status, later = post(worker, **FLASH | {"start": "2199-01-01 12:00", "factor": "1.5", "products": "CS01"})
    assert (status, later["start"], later["factor"]) == (201, "2199-01-01 11:00:00.000000", 1.5)
    assert later["products"] == ["CS01"]
    status, ended = end(worker, "flash-sale")
    assert (status, ended["state"], ended["end"]) == (200, "ended", later["start"])
    status, body = end(worker, "flash-sale")
    assert (status, body["error"]) == (409, "name: flash-sale was ended before it began")
    assert post(worker, **FLASH)[0] == 409
    assert shown(worker) == before | {"flash-sale": ended}
    assert worker.stop() == 0
    assert "Traceback" not in worker.said


def test_without_a_broker_nothing_is_set(shop: Shop, tmp_path: Path) -> None:
    shop.embedded()
    broker = EmbeddedBroker(tmp_path / "away", int(shop.servers.partition(":")[2]))
    broker.start()
    try:
        worker = shop.on(shop.servers).worker()
        assert worker.get("/incidents/")["incidents"] == []
        broker.stop()
        for method, path in (("GET", "/incidents/"), ("POST", "/incidents/"), ("DELETE", "/incidents/flash-sale/")):
            status, body = send(worker, method, path, FLASH if method == "POST" else None)
            assert (status, body) == (503, {"error": "The broker does not answer. Try again in a moment."})
    finally:
        broker.stop()


def test_incidents_are_added_listed_and_ended_at_a_terminal_without_a_worker(kafka: Kafka, shop: Shop) -> None:
    configure(shop, kafka)
    never = yasdg(shop, "incident")
    assert (never.returncode, never.stderr.count("\n")) == (1, 1)
    assert "was never opened" in never.stderr
    assert shop.configure(SALES_NUMBER_OF_SALES="20").worker().ends() == 0

    add = ("incident", "add", "flash-sale", "--kind", "promotion", "--discount", ".2")
    added = yasdg(shop, *add, "--duration", "2h", "--category", SCOPE, "--category", "Classic Smoothies")
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("flash-sale begins at ")
    assert "by the shop's clock" in added.stdout
    told = json.loads(yasdg(shop, "incident", "list", "--json").stdout)
    (flash,) = [each for each in told["incidents"] if each["source"] == "live"]
    assert flash["name"] == "flash-sale"
    assert flash["categories"] == ["Classic Smoothies", SCOPE]
    assert flash["start"] > told["now"]
    assert flash["start"][:16] in added.stdout
    ended = yasdg(shop, "incident", "end", "flash-sale")
    assert ended.returncode == 0, ended.stderr
    listed = yasdg(shop, "incident").stdout
    assert "by the shop's clock (Europe/Berlin)." in listed
    assert f"flash-sale: promotion of Classic Smoothies, {SCOPE}, factor 2.5, discount 0.2 (live)" in listed
    assert "summer-sale: promotion, factor 2, discount 0.2 (configuration)" in listed

    def refused(status: int, words: str, *arguments: str) -> None:
        said = yasdg(shop, "incident", *arguments)
        assert (said.returncode, said.stdout) == (status, "")
        assert words in said.stderr
        assert "Traceback" not in said.stderr

    stood = len(shop.read(f"{shop.name}-control"))
    refused(2, "add needs a name, such as: yasdg incident add", "add")
    refused(2, "--kind, --ramp-up: belongs to add", "end", "x", "--kind", "storm", "--ramp-up", "1m")
    wrong = ("--kind", "storm", "--ramp-up", "soon", "--factor", "")
    refused(2, "--ramp-up = soon: expected 0, or a duration", "add", "x", *wrong)
    refused(2, "--product: SF1 is not in the catalog", "add", "x", "--kind", "storm", "--product", "SF1")
    refused(1, "there is an incident storm already", "add", "storm", "--kind", "storm")
    refused(1, "belongs to the configuration", "end", "summer-sale")
    shop.configure(SALES_SEED="7")
    refused(1, "SALES.seed was 42, is 7", "add", "x", "--kind", "storm")
    assert len(shop.read(f"{shop.name}-control")) == stood
