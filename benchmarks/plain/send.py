"""Purchases sent as a Faust tutorial would: `faust -A send send 10000`. Reports the seconds that it took."""

import json
import os
import time

import faust
from faust.cli import argument
from sales import Purchase, sale

app = faust.App("plain-send", broker=f"kafka://{os.environ['SERVERS']}", topic_partitions=8)
purchases = app.topic(os.environ["PURCHASES"], key_type=str, value_type=Purchase)


@app.command(argument("count", type=int))
async def send(self, count: int) -> None:
    """Send purchases."""
    await app.producer.maybe_start()
    began = time.monotonic()
    for _ in range(count):
        purchase = sale(time.time())
        await purchases.send(key=purchase.product_id, value=purchase)
    await app.producer.flush()
    print(json.dumps({"sent": count, "seconds": time.monotonic() - began}))
