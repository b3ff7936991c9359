"""Purchases per second that the inventory agent applies to its table from an existing log, compared with others.

    make bench-consume
    make bench-consume ARGS="--sales 200000 --rounds 2"

- ours: a worker with an unread log, an empty table and nothing to sell, because the shop's end has passed. It parses,
  validates and folds each purchase, and writes restocks and the table's changelog;
- aiokafka's `getmany` and orjson, without Faust: a dict of levels; nothing is written or validated;
- a Faust agent as in a tutorial (plain/shop.py), on the same log: one record and one table write per purchase, and
  restocks.

The logs are written by the product's own classes: one for the others, and one for each run of ours, because a worker
applies only what its own shop has written. A worker's rate is that between the first and the last of its positions in
the log that are observed from outside before it is at the end, so its start is not included. (Ours: what the group has
committed. The plain one: the changelog, which has a record for each purchase.)
"""

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

from ours import configured, ours
from stage import FULL_SPEED, MAX_RATE, PARTITIONS, Outside, growth, interleaved, kafka, plain_shop, run, shop_on
from support.shop import Shop
from table import compared, limit, ratio

from yasdg_app.cluster_state.bootstrap import open_shop
from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.messages.formats import Format
from yasdg_app.shop.plan import Plan

OURS, AIOKAFKA, FAUST = "YASDG", "aiokafka + orjson", "Faust agent"
SETTLED = 2.0  # seconds after which new topics certainly have leaders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sales", type=int, default=2_000_000)
    parser.add_argument("--plain-seconds", type=float, default=10.0, help="duration for plain Faust")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contender", nargs=2, metavar=("SERVERS", "TOPIC"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        print(json.dumps(asyncio.run(by_aiokafka(*arguments.contender))))
        return
    closed = {**FULL_SPEED, **yesterday(arguments.sales)}
    with kafka() as (folder, servers), shop_on(folder, servers, "log", **closed) as log:
        purchases, started = log.topic("purchases"), 0
        count = asyncio.run(write(log))

        def by_us() -> float:
            nonlocal started
            started += 1
            with shop_on(folder, servers, f"ours{started}", **closed) as shop:
                asyncio.run(write(shop))
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                worker = shop.worker()
                samples = outside.until(worker, 600, lambda sample: sample.applied >= count)
                if worker.ends() != 0 or outside.sample()[1:] != (count, count):
                    raise SystemExit(f"Ours did not apply all {count} purchases. It said:\n{worker.said}")
            return growth(samples[:-1], "applied")

        def by_faust() -> float:
            nonlocal started
            started += 1
            with plain_shop(folder, servers, f"plain{started}", purchases) as worker:
                outside = Outside(servers, purchases, changelog=f"plain{started}-inventory-changelog")
                outside.until(worker, 60, lambda sample: sample.applied > 0)
                samples = outside.until(worker, arguments.plain_seconds, lambda sample: sample.applied >= count)
            return growth(samples[:-1], "applied")

        def by_hand() -> float:
            result = run(__file__, "--contender", servers, purchases)
            if result["events"] != count:
                raise SystemExit(f"{AIOKAFKA}: {result['events']} of {count} purchases were read.")
            return float(count / result["seconds"])

        rates = interleaved({OURS: by_us, AIOKAFKA: by_hand, FAUST: by_faust}, arguments.rounds)
    print(f"{count:,} purchases")
    print(compared(rates, AIOKAFKA, "purchases/s"))
    print(limit(f"{OURS} / {AIOKAFKA}", ratio(rates, OURS, AIOKAFKA), 0.8))
    print(f"{OURS} / {FAUST} is {ratio(rates, OURS, FAUST):,.1f}")


def yesterday(count: int) -> dict[str, str]:
    """Return the settings of a shop that opened yesterday and closed after a number of sales."""
    start = datetime.now(UTC) - timedelta(days=1)
    return {"CLOCK_START": f"{start:%Y-%m-%d %H:%M:%S}", "CLOCK_END": f"{count / MAX_RATE:.3f}s"}


async def write(shop: Shop) -> int:
    """Write all sales of a shop whose end has passed; return their number."""
    settings, products = configured(shop.environment)
    opening = await open_shop(Connection(shop.servers), settings, products, Format())
    closes_at = last_moment(settings, opening.opened_at)
    assert closes_at is not None
    plan = Plan.of(settings, products, opening.opened_at)
    await asyncio.sleep(SETTLED)
    return await ours(shop.servers, opening.producer_id, shop.topic("purchases"), plan, closes_at - 1)


async def by_aiokafka(servers: str, topic: str) -> dict[str, float]:
    """Fold the log into a dict of levels; return the number of purchases, and the seconds from first to last."""
    import orjson
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False, check_crcs=False
    )
    await consumer.start()
    tps = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    consumer.assign(tps)
    ends = await consumer.end_offsets(tps)
    levels: dict[str, int] = {}
    began, events, total = 0.0, 0, sum(ends.values())
    while events < total:
        fetched = await consumer.getmany(timeout_ms=1000)
        began = began or time.monotonic()
        for messages in fetched.values():
            events += len(messages)
            for sale in orjson.loads(b"[" + b",".join([message.value for message in messages]) + b"]"):
                product_id = sale["product_id"]
                level = levels.get(product_id, 75) - sale["quantity"]
                levels[product_id] = level + 15 if level <= 10 else level
    seconds = time.monotonic() - began
    await consumer.stop()
    return {"events": events, "seconds": seconds}


if __name__ == "__main__":
    main()
