"""Every scenario is one stream: the simulation's, whoever makes it, at any speed, through a death."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from oracles.simulation import as_simulated
from support.shop import Shop

SCENARIOS = Path(__file__).parents[2] / "config" / "scenarios"


class Kafka(Protocol):
    """See conftest.py."""

    bootstrap_servers: str


@dataclass(frozen=True)
class Stretch:
    """A stretch of a scenario that is long enough to see what it is about."""

    start: str
    end: str
    speed: int  # at which it takes some seconds
    empty: tuple[str, ...] = ()  # topics on which nothing stands


STRETCHES = {
    "seed": Stretch("2026-06-01", "1d", 7200, ("lost_sales", "incidents")),
    "week": Stretch("2026-06-02", "36h", 10_000),
    "supply-crisis": Stretch("2026-04-06", "12d", 100_000),
    "year": Stretch("2026-06-05", "1d", 7200, ("incidents",)),
    "dirty": Stretch("2026-06-01 12:00", "2h", 600, ("lost_sales", "incidents")),
    "bookshop": Stretch("2026-11-20", "6d", 50_000, ("lost_sales",)),
    "hardware": Stretch("2026-06-05 06:00", "8h", 3600, ("lost_sales", "incidents")),
    "chain": Stretch("2026-06-05 12:00", "10s", 1, ("lost_sales", "incidents")),
}


def open_shop(shop: Shop, kafka: Kafka, scenario: str, partitions: int, speed: str) -> Shop:
    stretch = STRETCHES[scenario]
    shop.configured_by(SCENARIOS / f"{scenario}.ini").configure(KAFKA_PARTITIONS=str(partitions))
    shop.configure(CLOCK_START=stretch.start, CLOCK_END=stretch.end, CLOCK_SPEED=speed)
    return shop.on(kafka.bootstrap_servers)


def test_each_scenario_is_here() -> None:
    assert {path.stem for path in SCENARIOS.glob("*.ini")} == set(STRETCHES)


@pytest.mark.parametrize("scenario", STRETCHES)
def test_one_worker_at_full_speed(kafka: Kafka, shop: Shop, scenario: str) -> None:
    worker = open_shop(shop, kafka, scenario, 4, "max").worker()
    assert worker.ends(300) == 0, worker.said
    as_simulated(shop, STRETCHES[scenario].empty)


@pytest.mark.parametrize("scenario", STRETCHES)
def test_three_workers_in_sixteen_partitions_that_tick_once_a_second_and_one_is_killed(
    kafka: Kafka, shop: Shop, scenario: str
) -> None:
    open_shop(shop, kafka, scenario, 16, str(STRETCHES[scenario].speed))
    workers = [shop.worker("slow_rounds.py") for _ in range(3)]
    workers[0].until(lambda: workers[0].get("/inventory/")["inventory"], "a sale")
    time.sleep(3 * random.random())
    workers[2].kill()
    for worker in workers[:2]:
        assert worker.ends(300) == 0, worker.said
    as_simulated(shop, STRETCHES[scenario].empty)
