"""Latency from the append of a purchase until its restock can be read, and how late sales are appended.

    make bench-latency
    make bench-latency ARGS="--rates 2000 --seconds 5 --rounds 1"

One worker, live, default configuration except for the rate; at the first rate the plain Faust app (plain/shop.py) as
well. A reader in a separate process (librdkafka, which polls all the time) records when each message arrives:

- purchase → restock: from the arrival of the purchase to that of the restock that it caused, which is the one of its
  product with the same event time;
- due → appended: from the event time of a purchase to the time when the broker appended it, which it records
  (LogAppendTime) in whole milliseconds; they are rounded up. Appending together what becomes due in one round costs on
  average at least half of a round;
- due → read: from the event time of a purchase to its arrival.
"""

import argparse
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf, isfinite
from statistics import median

import msgspec
import numpy as np
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from stage import PARTITIONS, Outside, admin_of, interleaved, kafka, pace, plain_shop, run, shop_on
from table import at_most, bar, table

from yasdg_app.pipeline.sales_generator import MIN_ROUND_SECONDS

WARM_UP_SECONDS = 3.0
MAX_WAIT_SECONDS = 3.0  # max seconds to wait for restocks at the end
ASKED = 5_000  # purchases per second whose latency is computed
LIMITED = ("YASDG, 2,000/s", "YASDG, 20,000/s")
FIGURES = ("restock_50", "restock_99", "append_50", "append_99", "read_50", "read_99")


class Bought(msgspec.Struct):
    transaction_time: str
    product_id: str


class Restocked(msgspec.Struct):
    event_time: str
    product_id: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 20_000, 100_000], help="sales per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", nargs=3, metavar=("SERVERS", "NAME", "RATE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        servers, name, rate = arguments.read
        print(json.dumps(read(servers, name, max(1, int(rate) // ASKED), arguments.seconds)))
        return
    with kafka() as (folder, servers):
        names = (f"shop{number}" for number in range(1000))

        def watched(name: str, rate: int) -> dict[str, float]:
            time.sleep(WARM_UP_SECONDS)
            return run(__file__, "--seconds", str(arguments.seconds), "--read", servers, name, str(rate), seconds=120)

        def ours(rate: int) -> dict[str, float]:
            with shop_on(folder, servers, next(names), **pace(rate)) as shop:
                worker = shop.worker()
                worker.until(lambda: worker.get("/inventory/")["inventory"], "the first sale")
                stamped_by_the_broker(servers, shop.topic("purchases"))
                return watched(shop.name, rate)

        def plain(rate: int) -> dict[str, float]:
            with plain_shop(folder, servers, name := next(names), rate=rate) as worker:
                outside = Outside(servers, f"{name}.purchases", changelog=f"{name}-inventory-changelog")
                outside.until(worker, 60, lambda sample: sample.applied > 0)
                stamped_by_the_broker(servers, f"{name}.purchases")
                return watched(name, rate)

        contenders = {f"YASDG, {rate:,}/s": lambda rate=rate: ours(rate) for rate in arguments.rates}
        contenders[f"plain Faust, {arguments.rates[0]:,}/s"] = lambda: plain(arguments.rates[0])
        results = interleaved(contenders, arguments.rounds)
    figures = medians(results)
    print(shown(figures))
    for name in filter(figures.__contains__, LIMITED):
        print(at_most(f"{name}: purchase → restock, p50", figures[name]["restock_50"], 10))
        print(at_most(f"{name}: purchase → restock, p99", figures[name]["restock_99"], 25))
        late = figures[name]["append_99"] - MIN_ROUND_SECONDS * 500
        print(at_most(f"{name}: due → appended beyond half of the shortest round, p99", late, 10))


def stamped_by_the_broker(servers: str, topic: str) -> None:
    """Make the broker stamp messages with the time of their append instead of the event time, which the value has."""
    stamp = ConfigEntry("message.timestamp.type", "LogAppendTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[stamp])
    admin = admin_of(servers)
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result()


def medians(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        name: {figure: median(each[figure] for each in found) for figure in found[0]} for name, found in results.items()
    }


def shown(figures: dict[str, dict[str, float]]) -> str:
    longest = [each["restock_99"] for each in figures.values() if isfinite(each["restock_99"])]
    rows = [
        (
            name, f"{each['purchases']:,.0f}",
            *(f"{each[figure]:,.0f}" if isfinite(each[figure]) else "none came" for figure in FIGURES),
            f"{each['restocks']:,.0f}", f"{each['reader']:.0%}",
            bar(each["restock_99"], longest) if isfinite(each["restock_99"]) else "",
        )
        for name, each in figures.items()
    ]  # fmt: skip
    header = (
        "", "read/s", "purchase → restock, ms: p50", "p99", "due → appended, ms: p50", "p99",
        "due → read, ms: p50", "p99", "restocks", "reader's CPU", "p99 of restocks",
    )  # fmt: skip
    return table(header, rows)


def read(servers: str, name: str, every: int, seconds: float) -> dict[str, float]:
    """Read new messages; times in milliseconds. The latency is computed for one of every `every` purchases."""
    from confluent_kafka import OFFSET_END, Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "reader", "enable.auto.commit": False, "log_level": 0,
         "fetch.wait.max.ms": 5, "fetch.min.bytes": 1, "check.crcs": False}
    )  # fmt: skip
    purchases, stockings = f"{name}.purchases", f"{name}.stockings"
    consumer.assign(
        [TopicPartition(topic, p, OFFSET_END) for topic in (purchases, stockings) for p in range(PARTITIONS)]
    )
    bought, restocked = msgspec.json.Decoder(Bought).decode, msgspec.json.Decoder(Restocked).decode
    arrivals: dict[tuple[str, str], float] = {}  # of purchases, by the fields that the restock repeats
    waiting: dict[tuple[str, str], float] = {}  # restocks that arrived before their purchase, in the same fetch
    restocks, appends, reads = [], [], []
    count = 0
    while not (messages := consumer.consume(1, 1.0)):
        pass
    began, cpu = time.monotonic(), time.process_time()
    while (now := time.monotonic()) < began + seconds + MAX_WAIT_SECONDS:
        messages = consumer.consume(20_000, 0.001)
        arrived, is_open = time.time(), now < began + seconds
        for message in messages:
            if message.topic() == stockings:
                restock = restocked(message.value())
                waiting[restock.product_id, restock.event_time] = arrived
            elif is_open:
                sale = bought(message.value())
                arrivals[sale.product_id, sale.transaction_time] = arrived
                count += 1
                if count % every == 0:
                    due, (_, appended) = seconds_of(sale.transaction_time), message.timestamp()
                    appends.append((appended + 1) / 1000 - due)  # whole milliseconds, rounded down
                    reads.append(arrived - due)
        for cause in waiting.keys() & arrivals.keys():
            restocks.append(waiting[cause] - arrivals[cause])
        waiting.clear()
    passed, cpu = time.monotonic() - began, time.process_time() - cpu
    consumer.close()
    return {
        "purchases": count / seconds,
        "restocks": len(restocks),
        "reader": cpu / passed,
        **dict(zip(FIGURES, [*percentiles(restocks), *percentiles(appends), *percentiles(reads)], strict=True)),
    }


def seconds_of(event_time: str) -> float:
    return datetime.fromisoformat(event_time).replace(tzinfo=UTC).timestamp()


def percentiles(seconds: Sequence[float]) -> list[float]:
    """The 50th and the 99th percentile, in milliseconds; infinite without data."""
    return [float(each) * 1000 for each in np.percentile(seconds, [50, 99])] if seconds else [inf, inf]


if __name__ == "__main__":
    main()
