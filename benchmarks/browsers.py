"""Cost of dashboard viewers: sales with and without a hundred event streams, as many as a hundred browsers have.

    make bench-browsers
    make bench-browsers ARGS="--listeners 10 --seconds 5 --rounds 1"

One worker; another process on the same machine reads its event streams and does not parse them. First at full speed:
a day of 500,000 sales per second to backfill, counted from outside as what was both appended and applied. Then live:
processor time of the worker. The runs alternate, so that other load on the machine affects all of them equally.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
import psutil
from stage import FULL_SPEED, Outside, growth, interleaved, kafka, pace, shop_on
from support.shop import Worker
from table import compared, limit, ratio

WARM_UP_SECONDS = 5.0
LIVE_RATE = 2_000  # sales per second
MIN_RATIO = 0.95  # min fraction of the sales without listeners


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--listen", metavar="URL", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        asyncio.run(listen_all(arguments.listen, arguments.listeners))
        return
    alone, watched = "no clients", f"{arguments.listeners} clients"
    taken: list[tuple[int, int]] = []
    with kafka() as (folder, servers):
        names = (f"shop{number}" for number in range(1000))

        def measured(listeners: int, settings: Mapping[str, str]) -> tuple[float, float]:
            """Sales per second, and processors used by the worker."""
            with shop_on(folder, servers, next(names), **settings) as shop:
                worker = shop.worker()
                outside = Outside(servers, shop.topic("purchases"), group=shop.name)
                outside.until(worker, 60, lambda sample: sample.applied > 0)
                with listening(worker, listeners, taken):
                    time.sleep(WARM_UP_SECONDS)
                    process = psutil.Process(worker.process.pid)
                    before, began = sum(process.cpu_times()[:2]), time.monotonic()
                    samples = outside.during(worker, arguments.seconds)
                    took = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
                return min(growth(samples, "appended"), growth(samples, "applied")), took

        flat_out = interleaved(
            {
                alone: lambda: measured(0, FULL_SPEED)[0],
                watched: lambda: measured(arguments.listeners, FULL_SPEED)[0],
            },
            arguments.rounds,
        )
        live = interleaved(
            {
                alone: lambda: 100 * measured(0, pace(LIVE_RATE))[1],
                watched: lambda: 100 * measured(arguments.listeners, pace(LIVE_RATE))[1],
            },
            arguments.rounds,
        )
    print(compared(flat_out, alone, "sales/s, flat out"))
    print(limit(f"{watched} / {alone}", ratio(flat_out, watched, alone), MIN_RATIO))
    print(compared(live, alone, f"% of a processor at {LIVE_RATE:,} sales/s"))
    events, size = (sum(column) for column in zip(*taken, strict=True))
    seconds = 2 * arguments.rounds * (arguments.seconds + WARM_UP_SECONDS)
    rate = events / seconds / arguments.listeners
    print(f"Each listener took {rate:.2f} events a second, of {size / events:,.0f} bytes.")


@contextmanager
def listening(worker: Worker, listeners: int, taken: list[tuple[int, int]]) -> Iterator[None]:
    """Run listeners in another process meanwhile; append the number of events and bytes they received to `taken`."""
    if not listeners:
        yield
        return
    command = [sys.executable, __file__, "--listen", f"{worker.web}/events/", "--listeners", str(listeners)]
    others = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
        output, _ = others.communicate("", timeout=30)  # closing their standard input ends them
        taken.append(tuple(json.loads(output)))
    finally:
        others.kill()
        others.wait()


async def listen_all(url: str, listeners: int) -> None:
    """Listen until standard input ends; print the number of events and bytes received."""
    events = size = 0

    async def listen(session: aiohttp.ClientSession) -> None:
        nonlocal events, size
        async with session.get(url) as response:
            assert response.status == 200, response.status
            async for data, _ in response.content.iter_chunks():
                events += data.count(b"event: snapshot")
                size += len(data)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        streams = [asyncio.create_task(listen(session)) for _ in range(listeners)]
        await asyncio.to_thread(sys.stdin.read)
        ended = [stream for stream in streams if stream.done()]
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
    assert not ended, f"{len(ended)} streams ended by themselves"
    print(json.dumps([events, size]))


if __name__ == "__main__":
    main()
