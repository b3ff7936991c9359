"""A shop with hours, rush, incidents, suppliers and empty shelves: one stream, however it comes about."""

import random
import time
from typing import Protocol

import pytest
from oracles.simulation import as_simulated, differences, opening_of, plan_of
from support.shop import Shop, Worker

from yasdg_app.messages.times import event_time

LIVELY = """
[SALES]
min_sale_freq = 0
max_sale_freq = {freq}
substitution_freq = 5
[INVENTORY]
min_inventory = 10
restock_amount = 60
[CLOCK]
start = {start}
end = {end}
speed = {speed}
time_zone = Europe/Berlin
[HOURS]
every_day = 08:00-20:00
saturday = 08:00-12:00, 13:00-16:00
sunday = closed
[VOLUME]
every_day = 1 1 1 1 1 1 1 2 3 5 4 4 7 6 4 3 3 4 6 7 4 2 1 1
[SUPPLY]
lead_time = 2m - 5m - 3h
partial_freq = 3
[SUPPLIER greens]
categories = Superfoods Smoothies
lead_time = 1h
delivery_days = monday wednesday friday
[INCIDENT storm]
kind = storm
every = 1d
duration = 3h
ramp_up = 30m
ramp_down = 1h
[INCIDENT happy-hour]
kind = promotion
start = 2026-03-27 09:00
duration = 20m
factor = 2.5
discount = .2
categories = Classic Smoothies
[INCIDENT strike]
kind = supply
start = 2026-03-27 09:12
duration = 6h
"""
WEEK = {"start": "2026-03-26 12:00", "end": "2026-03-31 12:00", "freq": "10", "speed": "max"}
OPEN = {f"HOURS_{day}": "00:00-24:00" for day in ("EVERY_DAY", "SATURDAY", "SUNDAY")}
BUT_INCIDENTS = ("purchases", "lost_sales", "stockings")  # of which there may be none in some hours
MORNING = {"start": "2026-03-27 08:59", "end": "2026-03-27 09:19", "freq": "0.1", "speed": "60"}


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


def open_shop(shop: Shop, kafka: Kafka, partitions: int, **values: str) -> Shop:
    (shop.folder / "lively.ini").write_text(LIVELY.format(**values))
    shop.configured_by(shop.folder / "lively.ini").configure(KAFKA_PARTITIONS=str(partitions))
    return shop.on(kafka.bootstrap_servers)


def run_to_its_end(shop: Shop, *workers: Worker) -> None:
    for worker in workers:
        assert worker.ends(300) == 0, worker.said


def test_one_worker_makes_the_simulated_week(kafka: Kafka, shop: Shop) -> None:
    worker = open_shop(shop, kafka, 4, **WEEK).worker()
    run_to_its_end(shop, worker)
    as_simulated(shop)


def test_so_do_three_in_sixteen_partitions_of_which_one_is_killed(kafka: Kafka, shop: Shop) -> None:
    open_shop(shop, kafka, 16, **WEEK)
    workers = [shop.worker() for _ in range(3)]
    workers[0].until(lambda: workers[0].get("/inventory/")["inventory"], "a sale")
    time.sleep(random.random())
    workers[2].kill()
    run_to_its_end(shop, *workers[:2])
    as_simulated(shop)


@pytest.mark.parametrize("program", [(), ("slow_rounds.py",)], ids=["rounds of 6 ms", "rounds of 1 s"])
def test_at_speed_60_it_is_the_simulated_morning(kafka: Kafka, shop: Shop, program: tuple[str, ...]) -> None:
    worker = open_shop(shop, kafka, 4, **MORNING).worker(*program)
    run_to_its_end(shop, worker)
    as_simulated(shop)


def test_at_full_speed_it_is_the_same_morning(kafka: Kafka, shop: Shop) -> None:
    worker = open_shop(shop, kafka, 4, **MORNING | {"speed": "max"}).worker()
    run_to_its_end(shop, worker)
    as_simulated(shop)


@pytest.mark.parametrize("slow", ["lost_sales", "purchases", "incidents"])
def test_a_run_with_an_end_waits_for_all_that_is_on_its_way(kafka: Kafka, shop: Shop, slow: str) -> None:
    open_shop(shop, kafka, 2, **MORNING | {"speed": "max"})
    worker = shop.worker("slow_appends.py", shop.topic(slow), "2.5")
    run_to_its_end(shop, worker)
    as_simulated(shop)


def test_who_stays_finishes_what_a_killed_worker_left_at_the_very_end(kafka: Kafka, shop: Shop) -> None:
    open_shop(shop, kafka, 4, **MORNING)
    workers = [shop.worker(), shop.worker()]
    for worker in workers:
        worker.until(lambda worker=worker: worker.get("/inventory/")["inventory"], "a sale")
    clock = opening_of(shop).clock
    ends_at = event_time("2026-03-27 08:19:00.000000")
    while clock.at(time.time_ns() // 1000) < ends_at - 60_000_000:  # a second before the end
        time.sleep(0.05)
    workers[1].kill()
    run_to_its_end(shop, workers[0])
    as_simulated(shop)


def test_workers_that_start_at_once_leave_out_the_same_time(kafka: Kafka, shop: Shop) -> None:
    open_shop(shop, kafka, 4, **WEEK | {"start": "1d", "end": "6h", "freq": "4", "speed": "1000"})
    shop.configure(CLOCK_ON_RESTART="skip", **OPEN)
    worker = shop.worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    assert worker.stop() == 0, worker.said
    workers = []
    for _ in range(3):
        time.sleep(0.5)
        workers.append(shop.worker())
    run_to_its_end(shop, *workers)
    assert plan_of(shop).gaps
    as_simulated(shop, topics=BUT_INCIDENTS)


def test_a_past_is_made_up_for_and_the_present_follows_without_a_gap(kafka: Kafka, shop: Shop) -> None:
    open_shop(shop, kafka, 4, **WEEK | {"start": "3d", "end": "never", "freq": "4"})
    worker = shop.configure(**OPEN).worker()
    worker.until(lambda: worker.get("/ready/")["ready"], "the present")
    present = time.time_ns() // 1000
    time.sleep(5)
    assert worker.stop() == 0, worker.said
    times = [event_time(sale["transaction_time"]) for sale in shop.purchases()]
    assert present - max(times) < 60_000_000
    assert max(times) <= time.time_ns() // 1000
    assert all(record.timestamp <= time.time() * 1000 for record in shop.read(shop.topic("purchases")))
    assert differences(shop) == []


def test_time_in_which_nobody_worked_can_be_left_out(kafka: Kafka, shop: Shop) -> None:
    values = {"start": "1d", "end": "4h", "freq": "4", "speed": "1000"}
    open_shop(shop, kafka, 4, **WEEK | values)
    worker = shop.configure(CLOCK_ON_RESTART="skip", **OPEN).worker()
    worker.until(lambda: worker.get("/inventory/")["inventory"], "a sale")
    assert worker.stop() == 0, worker.said
    time.sleep(1)
    run_to_its_end(shop, shop.worker())
    (gap,) = plan_of(shop).gaps
    assert gap.until - gap.after > 1000 * 1_000_000
    times = [event_time(sale["transaction_time"]) for sale in shop.purchases()]
    assert [at for at in times if gap.after < at <= gap.until] == []
    assert min(times) < gap.after < gap.until < max(times)
    as_simulated(shop, topics=BUT_INCIDENTS)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"start": "2090-01-01"}, "is in the future: expected an earlier time, or now"),
        ({"start": "1d", "end": "2020-01-01"}, "is not after the shop's first moment"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(kafka: Kafka, shop: Shop, values: dict[str, str], told: str) -> None:
    open_shop(shop, kafka, 4, **WEEK | {"end": "never"} | values)
    worker = shop.worker()
    assert worker.ends() == 1
    assert told in worker.said
    assert "Traceback" not in worker.said
