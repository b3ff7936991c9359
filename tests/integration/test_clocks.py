"""Clocks that jump: sales pause, and nothing is sold of a time that is not there."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from support.kafka_fixtures import Kafka
from support.shop import Shop, Worker, yasdg

from yasdg_app.messages.times import event_time

YEAR_SECONDS = 365 * 86_400


def ready(worker: Worker) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(worker.web + "/ready/", timeout=10) as response:
            body: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        body = json.load(error)
    except OSError:  # the web server is not there yet
        body = {"ready": False, "reasons": []}
    return body


def set_incident(worker: Worker, name: str) -> urllib.request.Request:
    body = json.dumps({"name": name, "kind": "storm"}).encode()
    return urllib.request.Request(worker.web + "/incidents/", body, {"Content-Type": "application/json"}, method="POST")


def sold(worker: Worker) -> Any:
    return worker.get("/inventory/")["inventory"]


def latest(shop: Shop) -> int:
    return max(event_time(sale["transaction_time"]) for sale in shop.purchases())


def test_a_jump_of_years_sells_nothing_and_sales_go_on_when_it_is_over(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker("clock_jumps.py", str(2 * YEAR_SECONDS), "40", "120")
    worker.until(lambda: "was set forward by 730 d" in worker.said, "a word on the jump")
    assert "If its time is right, restart this worker." in worker.said
    why_not = "Nothing is sold until that is undone"
    worker.until(lambda: any(why_not in reason for reason in ready(worker)["reasons"]), "a reason")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(set_incident(worker, "soon"), timeout=20)
    assert refused.value.code == 503
    assert why_not in json.load(refused.value)["error"]
    worker.until(lambda: "sales resume" in worker.said, "the end of it")
    before = sold(worker)
    worker.until(lambda: sold(worker) != before, "a sale")
    assert worker.stop() == 0, worker.said
    assert latest(shop) <= time.time_ns() // 1000


def test_a_jump_that_stays_ends_the_worker_and_one_that_is_started_then_sells(kafka: Kafka, shop: Shop) -> None:
    worker = shop.on(kafka.bootstrap_servers).worker("clock_jumps.py", str(2 * YEAR_SECONDS), "3600", "8")
    assert worker.ends() == 1
    (line,) = [line for line in worker.said.splitlines() if "yasdg: The clock" in line]
    assert "was set forward by 730 d" in line
    assert "If its time is right, restart this worker." in line
    assert "Traceback" not in worker.said
    assert latest(shop) <= time.time_ns() // 1000
    again = shop.worker()
    before = len(shop.purchases())
    again.until(lambda: len(shop.purchases()) > before, "a sale")
    assert again.stop() == 0, again.said


def test_sales_of_the_future_are_told_and_no_incident_is_set_for_their_time(kafka: Kafka, shop: Shop) -> None:
    """The clock is half an hour ahead until it has been believed, and then it is set back."""
    worker = shop.on(kafka.bootstrap_servers).configure(SALES_MAX_SALE_FREQ="0.2")
    worker = shop.worker("clock_jumps.py", "1800", "40", "8")
    worker.until(lambda: "The clock is trusted again" in worker.said, "trust in the clock")
    now = time.time_ns() // 1000
    worker.until(lambda: shop.purchases() and latest(shop) > now + 1_700_000_000, "sales of the future")
    worker.until(lambda: "was set back by 30 min" in worker.said, "the clock to be set back")
    worker.until(lambda: "The log contains sales up to" in worker.said, "a word on it")
    through = latest(shop)
    reasons = worker.until(
        lambda: [each for each in ready(worker)["reasons"] if "sales of the future" in each], "a reason"
    )
    assert "no sales until then" in reasons[0]
    with urllib.request.urlopen(set_incident(worker, "late"), timeout=20) as response:
        assert event_time(json.load(response)["start"]) > through
    added = yasdg(shop, "incident", "add", "later", "--kind", "storm", "--json")
    assert added.returncode == 0, added.stderr
    assert event_time(json.loads(added.stdout)["start"]) > through
    assert worker.stop() == 0, worker.said
