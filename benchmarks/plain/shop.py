"""The shop as a Faust tutorial would write it: a timer sends purchases, an agent keeps a table and sends restocks.

What it guarantees is less than ours: a restart sells some things twice or loses them. `RATE` is of sales a second; of
more than it can, it sells no more than `AHEAD` that its agent has not seen, which is the best that it can keep up.
"""

import os
import time

import faust
from sales import Purchase, Stocking, sale

NAME, RATE = os.environ["NAME"], float(os.environ["RATE"])
AHEAD = 2_000

app = faust.App(NAME, broker=f"kafka://{os.environ['SERVERS']}", store="memory://", topic_partitions=8)
purchases = app.topic(os.environ["PURCHASES"], key_type=str, value_type=Purchase, partitions=8)
stockings = app.topic(f"{NAME}.stockings", key_type=str, value_type=Stocking, partitions=8)
inventory = app.Table("inventory", default=lambda: 75, partitions=8)
opened_at = time.time()
sold = applied = restocks = 0


@app.agent(purchases)
async def keep_inventory(stream) -> None:
    """Apply each purchase to the table."""
    global applied, restocks
    async for purchase in stream:
        level = inventory[purchase.product_id] - purchase.quantity
        if level <= 10:
            restocks += 1
            restock = Stocking(
                event_time=purchase.transaction_time,
                product_id=purchase.product_id,
                existing_level=level,
                stock_quantity=15,
                new_level=level + 15,
                stocking_id=f"{purchase.product_id}-R{restocks:06d}",
            )
            await stockings.send(key=purchase.product_id, value=restock)
            level += 15
        inventory[purchase.product_id] = level
        applied += 1


@app.timer(0.1)
async def ring_up() -> None:
    """Send the purchases that are due."""
    global sold
    passed = time.time() - opened_at
    while sold - applied < AHEAD and sold < RATE * passed:
        at = time.time() if float("inf") == RATE else opened_at + sold / RATE
        purchase = sale(at)
        await purchases.send(key=purchase.product_id, value=purchase)
        sold += 1
