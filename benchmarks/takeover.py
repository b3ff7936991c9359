"""How long partitions are idle after their worker ends: from `kill -9`, and from Ctrl-C, to the first sale of each.

    make bench-takeover                    # five of each, with two workers

Each sale carries the event time at which it was due, so the stream has no gap; the result is how late the sales of the
idle time are appended. (For the others, a worker that is stopped beyond the session timeout is the same as a killed
one.)
"""

import argparse
import asyncio
import signal
import statistics
import tempfile
import time
from pathlib import Path

from aiokafka import TopicPartition
from machine import machine
from support.shop import Shop, Worker

from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.embedded.broker import EmbeddedBroker
from yasdg_app.kafka.embedded.node import free_port
from yasdg_app.kafka.reader import Reader

PARTITIONS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="yasdg-bench-") as folder:
        broker = EmbeddedBroker(Path(folder) / "broker", free_port())
        shop = Shop(Path(folder), "bench").on(broker.start()).configure(SALES_MAX_SALE_FREQ="0.002")
        try:
            stays = shop.worker()
            for what, number in (("kill -9", signal.SIGKILL), ("Ctrl-C", signal.SIGINT)):
                seconds = [takeover(shop, stays, number) for _ in range(arguments.runs)]
                shown = ", ".join(f"{second:.1f}" for second in seconds)
                print(f"{what}: {shown} s; median {statistics.median(seconds):.1f}, longest {max(seconds):.1f} s")
            stays.stop()
        finally:
            shop.close()
            broker.stop()


def takeover(shop: Shop, stays: Worker, number: signal.Signals) -> float:
    """Start a second worker, end it; return seconds until each of its partitions has a sale by the remaining worker."""
    goes = shop.worker()
    goes.until(lambda: len(goes.owned()) == PARTITIONS // 2, "half of the partitions")
    goes.until(lambda: len(goes.get("/inventory/")["inventory"]) > 5, "sales")
    time.sleep(3)
    partitions = goes.owned()
    began = time.monotonic()
    goes.process.send_signal(number)
    asyncio.run(all_grow(shop, partitions, goes))
    seconds = time.monotonic() - began
    goes.ends(30)
    return seconds


async def all_grow(shop: Shop, partitions: list[int], goes: Worker) -> None:
    """Wait until the remaining worker has appended to all of these partitions."""
    tps = [TopicPartition(shop.topic("purchases"), partition) for partition in partitions]
    async with Reader(Connection(shop.servers)) as reader:
        ends = await reader.ends(tps)
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 0.35:  # while the stopping worker still sells
            await asyncio.sleep(0.02)
            now = await reader.ends(tps)
            if now != ends:
                ends, quiet_since = now, time.monotonic()
            if goes.process.poll() is not None:
                break
        while any(end <= ends[tp] for tp, end in (await reader.ends(tps)).items()):
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    main()
