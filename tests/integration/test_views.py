"""What those who ask a worker are promised: the whole stream, the same everywhere, as the topics have it."""

import http.server
import json
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import jsonschema
import pytest
from support.shop import Shop, Worker, yasdg

from yasdg_app import web
from yasdg_app.config import catalog, files, settings

TOKEN = "0123456789abcdef"
PRODUCTS = {product.product_id: product for product in catalog.load(settings.SalesSettings().products)}
DESCRIPTION: dict[str, Any] = json.loads(Path(web.__file__).with_name("openapi.json").read_bytes())
OF_NOW = {"now", "pace", "behind", "lag", "rate", "asked", "ready", "reasons"}
"""Fields that tell of the moment, or of the worker, in which something was asked."""
FORGED = "[CRITICAL] forged"


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def ask(
    worker: Worker, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON and headers of an answer, which is as its description says; it comes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(worker.web + path, body, names, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            status, data, said = response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        status, data, said = error.code, error.read(), error.headers
    told = json.loads(data) if data and said.get_content_type() == "application/json" else data
    check(path.partition("?")[0], method.lower(), status, told)
    return status, told, dict(said)


def check(path: str, method: str, status: int, told: Any) -> None:
    templates = {re.sub(r"\{\w+\}", "[^/]+", template): template for template in DESCRIPTION["paths"]}
    template = next((template for pattern, template in templates.items() if re.fullmatch(pattern, path)), None)
    methods = DESCRIPTION["paths"].get(template, {})
    method = "get" if method == "head" else method
    if method in methods:
        response = methods[method]["responses"][str(status)]
        if "$ref" in response:
            response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
        schema = response.get("content", {}).get("application/json", {}).get("schema")
    else:
        assert status in (400, 401, 403, 404, 405, 415)
        schema = {"$ref": "#/components/schemas/Error"}
    if schema and told != b"":  # which HEAD has
        is_as_described(told, schema)


def is_as_described(told: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema | {"components": DESCRIPTION["components"]}).validate(told)


def snapshots(worker: Worker, count: int = 1, **headers: str) -> list[dict[str, Any]]:
    """What comes to who listens for a while."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    found: list[dict[str, Any]] = []
    with urllib.request.urlopen(urllib.request.Request(f"{worker.web}/events/", headers=names), timeout=10) as stream:
        assert stream.headers.get_content_type() == "text/event-stream"
        while len(found) < count:
            line = stream.readline().decode()
            assert line, "the stream ended"
            if line.startswith("data:"):
                found.append(json.loads(line[5:]))
                is_as_described(found[-1], {"$ref": "#/components/schemas/Snapshot"})
    return found


def lasting(told: Any) -> Any:
    """An answer without what is of the moment in it."""
    if isinstance(told, dict):
        return {name: lasting(value) for name, value in told.items() if name not in OF_NOW}
    return [lasting(each) for each in told] if isinstance(told, list) else told


def minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def standing(shop: Shop, kafka: Kafka) -> datetime:
    """Have a shop that has sold for two hours and stands still now; return until when it sold."""
    sold_until = minute(datetime.now(UTC)) - timedelta(minutes=20)
    path = shop.folder / "standing.ini"
    path.write_text(
        "[SALES]\nmin_sale_freq = 0\nmax_sale_freq = .6\n"
        f"[CLOCK]\nstart = {sold_until - timedelta(hours=2):%Y-%m-%d %H:%M}\n"
        "[SUPPLY]\nlead_time = 10m\n"
        f"[INCIDENT blackout]\nkind = power_outage\nstart = {sold_until:%Y-%m-%d %H:%M}\nduration = 30d\n"
    )
    shop.on(kafka.bootstrap_servers).configured_by(path)
    return sold_until


def is_whole(worker: Worker, workers: int) -> bool:
    """Whether it tells of all partitions of so many workers, which have nothing more to do."""
    told = ask(worker, "/workers/")[1]
    busy = [each for each in told["workers"] if each["partitions"] and each["ready"] and each["lag"] == 0]
    return not told["missing"] and len(busy) == workers and bool(ask(worker, "/sales/?window=day")[1]["complete"])


def views(through: datetime) -> list[str]:
    at = quote(f"{through:%Y-%m-%d %H:%M}")
    return [
        *("/products/", "/products/?limit=4&after=CS02", "/incidents/", "/workers/"),
        *("/inventory/", "/inventory/?limit=5&after=CS03", *(f"/inventory/{product_id}/" for product_id in PRODUCTS)),
        *(
            f"/sales/?window={window}&by={by}&through={at}&limit={limit}"
            for window in ("minute", "hour", "day")
            for by in ("product", "category")
            for limit in (3, 1000)
        ),
    ]


def test_each_view_is_the_same_at_each_worker_and_what_the_topics_say(kafka: Kafka, shop: Shop) -> None:
    sold_until = standing(shop, kafka)
    workers = [shop.worker() for _ in range(3)]
    workers[0].until(lambda: workers[0].get("/inventory/")["inventory"], "a sale")
    for worker in workers:
        worker.until(lambda worker=worker: is_whole(worker, 3), "three workers that have told all")  # type: ignore[misc]

    answers = [{path: lasting(ask(worker, path)[1]) for path in views(sold_until)} for worker in workers]
    for path in answers[0]:
        assert answers[0][path] == answers[1][path] == answers[2][path], path
    agrees_with_the_topics(shop, answers[0], sold_until)

    # The page as well. Its minutes pass even where nothing is sold.
    seen = [lasting(snapshots(worker)[-1]) for worker in workers]
    while len({each["through"] for each in seen}) > 1:
        seen = [lasting(snapshots(worker)[-1]) for worker in workers]
    assert seen[0] == seen[1] == seen[2]
    page_agrees_with_the_topics(shop, seen[0])

    # Of what nobody tells it is said whose it is, at once; the rest is told. Six seconds later others take over.
    silent, (first, second) = workers[2], workers[:2]
    theirs = silent.owned()
    own_product = next(product_id for product_id in PRODUCTS if home(shop, product_id) in theirs)
    silent.process.send_signal(signal.SIGSTOP)
    told = ask(first, "/inventory/")[1]
    assert told["missing"] == [{"partitions": theirs, "url": silent.web, "why": "does not answer within 1 s"}]
    silent.kill()
    missing = [{"partitions": theirs, "url": silent.web, "why": "does not answer"}]
    for worker in (first, second):
        for path in ("/inventory/", "/sales/", "/workers/"):
            told = ask(worker, path)[1]
            assert told["missing"] == missing, path
            assert told["partitions"] == sorted({*range(8)} - {*theirs})
    status, told, _ = ask(second, f"/inventory/{own_product}/")
    assert (status, told["missing"]) == (503, missing)
    assert snapshots(first)[0]["missing"] == missing

    for worker in (first, second):
        worker.until(lambda worker=worker: is_whole(worker, 2), "two workers that have all")  # type: ignore[misc]
        after = {path: lasting(ask(worker, path)[1]) for path in views(sold_until)}
        assert {path for path in after if after[path] != answers[0][path]} == {"/workers/"}
    assert [first.stop(), second.stop()] == [0, 0]


def home(shop: Shop, product_id: str) -> int:
    return next(
        partition
        for partition, records in shop.partitions(shop.topic("purchases")).items()
        if any(record.key == product_id.encode() for record in records)
    )


def agrees_with_the_topics(shop: Shop, answers: dict[str, Any], through: datetime) -> None:
    purchases = shop.purchases()
    assert len(purchases) > 1000
    at = quote(f"{through:%Y-%m-%d %H:%M}")
    for window, minutes in (("minute", 1), ("hour", 60), ("day", 1440)):
        first = f"{through - timedelta(minutes=minutes):%Y-%m-%d %H:%M}"
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for sale in purchases:
            if sale["transaction_time"] >= first:
                for key in (sale["product_id"], PRODUCTS[sale["product_id"]].category):
                    sums[key][0] += 1
                    sums[key][1] += sale["quantity"]
                    sums[key][2] += round(100 * sale["total_purchase"])
        for by, name in (("product", "product_id"), ("category", "category")):
            told = answers[f"/sales/?window={window}&by={by}&through={at}&limit=1000"]
            assert told["complete"]
            assert told["first"] == f"{first}:00.000000"
            found = {row[name]: [row["sales"], row["units"], round(100 * row["revenue"])] for row in told["sales"]}
            assert found == {key: sums[key] for key in sums if (key in PRODUCTS) == (by == "product")}
    part = answers[f"/sales/?window=day&by=product&through={at}&limit=3"]
    assert [row["product_id"] for row in part["sales"]] == list(PRODUCTS)[:3]
    assert part["next"].endswith("&limit=3&after=CS03")
    table = {record.key.decode(): json.loads(record.value) for record in shop.read(f"{shop.name}-inventory-changelog")}
    assert {row["product_id"]: row for row in answers["/inventory/"]["inventory"]} == table
    assert [row["product_id"] for row in answers["/inventory/?limit=5&after=CS03"]["inventory"]] == list(PRODUCTS)[3:8]
    assert {product_id: answers[f"/inventory/{product_id}/"] for product_id in table} == table
    assert [row["product_id"] for row in answers["/products/"]] == list(PRODUCTS)
    assert [row["product_id"] for row in answers["/products/?limit=4&after=CS02"]] == list(PRODUCTS)[2:6]


def page_agrees_with_the_topics(shop: Shop, seen: dict[str, Any]) -> None:
    purchases, stockings, lost = shop.purchases(), shop.messages("stockings"), shop.messages("lost_sales")
    assert seen["totals"] == {
        "sales": len(purchases),
        "units": sum(sale["quantity"] for sale in purchases),
        "revenue": round(sum(round(100 * sale["total_purchase"]) for sale in purchases) / 100, 2),
        "restocks": len(stockings),
        "lost_sales": len(lost),
    }
    assert len(seen["products"]) == seen["products_in_all"] == len(PRODUCTS)
    assert [each["sales"] for each in seen["products"]] == sorted((e["sales"] for e in seen["products"]), reverse=True)
    assert all(each["to_empty"] is None for each in seen["products"])  # nobody comes
    assert [each["name"] for each in seen["incidents"]] == ["blackout"]
    for name, own in (("restocks", stockings), ("lost_sales", lost)):
        times = [message["event_time"] for message in own]
        assert own, name
        assert [message["event_time"] for message in seen[name]] == sorted(times, reverse=True)[:50]
        assert all(message in own for message in seen[name])
    minutes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for sale in purchases:
        one = minutes[PRODUCTS[sale["product_id"]].category][sale["transaction_time"][:16]]
        one[0] += 1
        one[1] += round(100 * sale["total_purchase"])
    first = datetime.fromisoformat(seen["series"]["first"])
    assert datetime.fromisoformat(seen["through"]) == first + timedelta(minutes=180)
    for category, own_minutes in minutes.items():
        told = seen["series"]["categories"][category]
        expected = [own_minutes[f"{first + timedelta(minutes=at):%Y-%m-%d %H:%M}"] for at in range(180)]
        assert [told["sales"], [round(100 * each) for each in told["revenue"]]] == [
            [sales for sales, _ in expected],
            [cents for _, cents in expected],
        ]


BAD = {
    "/inventory/?limit=0": "limit",
    "/inventory/?after=XX99": "after",
    "/inventory/CS01/?limit=1": "limit",
    "/products/?limit=many": "limit",
    "/products/?page=2": "page",
    "/sales/?window=year": "window",
    "/sales/?by=customer": "by",
    "/sales/?through=2026-11-26": "through",
    "/sales/?through=2199-01-01T00:00": "through",
    "/sales/?by=category&after=CS01": "after",
    "/workers/?%1b[31m=1": "\\x1b[31m",
}


def test_bad_questions_are_answered_with_what_is_wrong_and_write_no_log(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    for path, field in BAD.items():
        status, told, _ = ask(worker, path)
        assert (status, told["field"]) == (400, field), path
        assert told["error"].startswith(f"{field}: ")
    forged = quote(f"\r\n{FORGED}\r\n")
    for path in ("/inventory/XX99/", f"/inventory/{forged}/", f"/{forged}", f"/page/{forged}", "/page/..%2fviews.py"):
        assert ask(worker, path)[0] == 404, path
    for path, method, allowed in (
        ("/inventory/", "POST", "GET,HEAD"),
        ("/", "DELETE", "GET,HEAD"),
        ("/incidents/", "PUT", "GET,HEAD,POST"),
        ("/incidents/x/", "GET", "DELETE"),
    ):
        status, _, headers = ask(worker, path, method, b"{}", Content_Type="application/json")
        assert (status, headers["Allow"]) == (405, allowed)
    new = json.dumps({"name": "flash", "kind": "storm"}).encode()
    assert ask(worker, "/incidents/", "POST", new)[0] == 415
    assert ask(worker, "/incidents/", "POST", new, Content_Type="application/json", Origin="http://x")[0] == 403
    assert ask(worker, "/incidents/", "POST", b" " * 100_000, Content_Type="application/json")[0] == 413
    for nonsense in (b"[" * 60_000, b'{"name": "\\u001b[31m", "kind": 7}', b"\xff", b"null"):
        status, told, _ = ask(worker, "/incidents/", "POST", nonsense, Content_Type="application/json")
        assert status == 400
        assert told["error"].isprintable()
    for line in (
        FORGED,
        f"GET / HTTP/1.1\r\n{FORGED}\r\n",
        f"GET /{FORGED} HTTP/9",
        "GET / HTTP/1.1\r\nHost: \x1b[31m",
    ):
        with socket.create_connection(worker.web.removeprefix("http://").split(":"), timeout=60) as connection:
            connection.sendall(line.encode() + b"\r\n\r\n")
            connection.recv(100)
    assert ask(worker, "/incidents/")[1]["incidents"] == []
    assert ask(worker, "/inventory/CS01/", "HEAD")[:2] == (200, b"")
    assert ask(worker, "/events/", "HEAD")[:2] == (200, b"")
    assert worker.stop() == 0
    for word in ("forged", "Traceback", "[ERROR]", "[WARNING]", "\x1b"):
        assert word not in worker.said


def test_a_product_that_was_not_sold_yet_is_as_the_shop_opened_it(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="1000000").worker()
    worker.until(lambda: worker.owned() == list(range(8)), "its partitions")
    told = ask(worker, "/inventory/CS01/")[1]
    assert (told["level"], told["initial"], told["sales"], told["last_sale"]) == (75, 75, 0, "")
    assert ask(worker, "/inventory/")[1]["inventory"] == []
    assert [each["level"] for each in snapshots(worker)[0]["products"]] == [
        each.inventory for each in PRODUCTS.values()
    ]
    assert worker.stop() == 0


def test_with_a_token_nobody_is_told_without_it_and_workers_tell_each_other(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(WEB_TOKEN=TOKEN)
    workers = [shop.worker(), shop.worker()]
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for worker in workers:
        worker.until(lambda worker=worker: worker.get("/ready/"), "that it is ready")  # type: ignore[misc]

    def whole(worker: Worker) -> bool:
        told = ask(worker, "/inventory/", **bearer)[1]
        return not told["missing"] and len(told["inventory"]) > 20

    for worker in workers:
        worker.until(lambda worker=worker: whole(worker), "the whole inventory")  # type: ignore[misc]
        assert len(snapshots(worker, **bearer)[0]["workers"]) == 2
        for path in ("/", "/inventory/", "/metrics", "/openapi.json", "/events/", "/share/?what=state", "/page/x"):
            status, told, _ = ask(worker, path)
            assert status == 401, path
            assert TOKEN not in json.dumps(told)
        assert ask(worker, "/inventory/", Cookie=f"yasdg_token={TOKEN}")[0] == 200
        assert ask(worker, "/inventory/", Authorization=f"Bearer {TOKEN}x")[0] == 401
        assert ask(worker, "/health/")[0] == 200
    audited = yasdg(shop, "audit", "--json", "--table", workers[0].web)
    assert audited.returncode == 0, audited.stderr
    assert json.loads(audited.stdout)["table_rows"] == len(PRODUCTS)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert not any(TOKEN in worker.said for worker in workers)


ODD_CATEGORIES = ["", "Shakes, Malts & More", "0", "Superfoods Smoothies"]


def test_categories_page_and_have_incidents_whatever_they_are_called(kafka: Kafka, shop: Shop) -> None:
    lines = [(files.PROJECT / "products.csv").read_text().splitlines()[0]]
    lines += [
        f'P{at},"{name}",Item {at},24 oz.,1.50,4.99,75,TRUE,FALSE,FALSE,FALSE,1,1,1,1'
        for at, name in enumerate(ODD_CATEGORIES)
    ]
    (shop.folder / "odd.csv").write_text("\n".join(lines) + "\n")
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_PRODUCTS=str(shop.folder / "odd.csv")).worker()
    worker.until(lambda: len(worker.get("/inventory/")["inventory"]) == 4, "sales of all")

    def pages(path: str) -> list[Any]:
        found: list[Any] = []
        while path and len(found) < 20:
            told = worker.get(path)
            found += told[path.split("/")[1]]
            path = told["next"]
        return found

    def of_all() -> bool:
        return len(worker.get("/sales/?window=day")["sales"]) == 4

    worker.until(of_all, "a minute with sales of all")
    assert [row["category"] for row in pages("/sales/?window=day&by=category&limit=1")] == ODD_CATEGORIES
    assert [row["product_id"] for row in pages("/sales/?window=day&by=product&limit=1")] == ["P0", "P1", "P2", "P3"]
    assert [row["product_id"] for row in pages("/inventory/?limit=1")] == ["P0", "P1", "P2", "P3"]
    for at, name in enumerate(ODD_CATEGORIES):
        body = json.dumps({"name": f"web-{at}", "kind": "storm", "categories": [name]}).encode()
        status, told, _ = ask(worker, "/incidents/", "POST", body, Content_Type="application/json")
        assert (status, told["categories"]) == (201, [name])
    added = yasdg(
        shop,
        *("incident", "add", "cli", "--kind", "storm", "--json"),
        *("--category", "Shakes, Malts & More"),
        "--category=",
    )
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["categories"] == ["", "Shakes, Malts & More"]
    assert worker.stop() == 0


class Impostor(http.server.ThreadingHTTPServer):
    """Listens where a worker is said to be: keeps what it is asked, passes that on to another, and forges answers."""

    def __init__(self, at: Worker, real: Worker) -> None:
        self.asked: list[tuple[str, str]] = []  # request line, and all headers
        self.passed_on: list[int] = []  # statuses of the other worker
        self.real = real
        super().__init__(("127.0.0.1", int(at.web.rpartition(":")[2])), ImpostorHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class ImpostorHandler(http.server.BaseHTTPRequestHandler):
    server: Impostor

    def do_GET(self) -> None:
        self.server.asked.append((self.requestline, str(self.headers)))
        said = {"Authorization": self.headers.get("Authorization", "")}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.server.real.web + self.path, headers=said)
            ) as taken:
                self.server.passed_on.append(taken.status)
        except urllib.error.HTTPError as error:
            self.server.passed_on.append(error.code)
        state = {"ready": True, "reasons": [], "lag": 0, "rate": 666.0, "behind": 0.0}
        share = {"generation": 2**31, "partitions": list(range(8)), "rows": [], "state": state}
        body = json.dumps(share | {"complete_from": None, "complete_through": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a machine has no address 127.0.0.2 of its own")
def test_somebody_who_joins_with_a_false_address_gets_no_token_and_is_not_believed(kafka: Kafka, shop: Shop) -> None:
    shop.on(kafka.bootstrap_servers).configure(WEB_TOKEN=TOKEN)
    workers = [shop.worker(), shop.worker()]
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for worker in workers:
        worker.until(lambda worker=worker: worker.get("/ready/"), "that it is ready")  # type: ignore[misc]
    shop.configure(WEB_TOKEN="another-token-0123")
    stranger = shop.worker("wrong_address.py")
    with Impostor(stranger, workers[0]) as impostor:
        url = stranger.web

        def told(worker: Worker) -> dict[str, Any] | None:
            view: dict[str, Any] = ask(worker, "/workers/", **bearer)[1]
            assert 666.0 not in [each["rate"] for each in view["workers"]]
            missing = next((each for each in view["missing"] if each["url"] == url), None)
            # the group may be joining anew: the others name all partitions only when it has
            of_all = missing and sorted(view["partitions"] + missing["partitions"]) == list(range(8))
            return missing if of_all and len(view["workers"]) == 3 else None

        for worker in workers:
            missing = worker.until(lambda worker=worker: told(worker), "the stranger")  # type: ignore[misc]
            assert missing["why"] == "does not prove that it has the token"
            assert missing["partitions"]
        assert impostor.asked
        for line, headers in impostor.asked:
            assert TOKEN not in line + headers
            assert "YASDG-HMAC-SHA256" in headers
        assert set(impostor.passed_on) == {401}  # what it was asked is of no use elsewhere
        impostor.shutdown()
    status, _, _ = ask(workers[0], "/share/?what=state", **bearer)  # as a worker of the version before asks
    assert status == 200
    assert [worker.stop() for worker in workers] == [0, 0]
    assert not any(TOKEN in worker.said for worker in workers)


@pytest.mark.parametrize("option", ["--web-bind=0.0.0.0", "--web-bind=::", "--web-bind=example.org"])
def test_a_worker_that_others_could_ask_without_a_token_does_not_start(shop: Shop, option: str) -> None:
    refused = yasdg(shop.embedded(), "worker", option)
    assert refused.returncode == 2
    said = refused.stderr.splitlines()[-1]
    assert f"yasdg: {option.replace('=', ' ')}: " in said
    assert "YASDG_WEB_TOKEN" in said
    assert not (shop.folder / "data").exists()


def test_a_worker_that_is_stopped_lets_its_listeners_go(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    ended: list[bytes] = []

    def listen() -> None:
        with urllib.request.urlopen(f"{worker.web}/events/", timeout=60) as stream:
            ended.append(stream.read())

    def listeners() -> float:
        metrics = ask(worker, "/metrics")[1].decode()
        return float(re.search(r"^yasdg_listeners (\S+)", metrics, re.M)[1])  # type: ignore[index]

    threads = [threading.Thread(target=listen) for _ in range(5)]
    for thread in threads:
        thread.start()
    worker.until(lambda: listeners() == 5, "five listeners")
    seen = snapshots(worker, 3)
    assert len({each["now"] for each in seen}) == 3
    assert worker.stop() == 0, worker.said  # it would be 1 if anybody had to be waited for
    for thread in threads:
        thread.join(60)
    assert [body.startswith(b"retry:") and body.endswith(b"\n\n") for body in ended] == [True] * 5
    assert "[ERROR]" not in worker.said
