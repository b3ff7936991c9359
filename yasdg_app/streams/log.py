"""Appending to a partition in whole batches, through the producer that Faust holds."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any


async def append(
    app: Any, topic: str, partition: int, rows: Iterable[tuple[bytes, bytes, int]], allowed: Callable[[], bool]
) -> bool:
    """Append rows (key, value, timestamp in milliseconds) in order; return when the cluster has them.

    `allowed` is asked as late as possible, before each batch. False is returned if it said no: what came before was
    appended, the rest was not.
    """
    producer = app.producer._producer  # Faust's own aiokafka producer: its batches are public, the way to it is not
    appended = []

    async def send(batch: Any) -> bool:
        if not allowed():
            return False
        appended.append(await producer.send_batch(batch, topic, partition=partition))
        return True

    batch, all_sent = producer.create_batch(), True
    for key, value, timestamp in rows:
        if batch.append(key=key, value=value, timestamp=timestamp) is None:
            all_sent = await send(batch)
            if not all_sent:
                break
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=timestamp)
    if all_sent and batch.record_count():
        all_sent = await send(batch)
    await asyncio.gather(*appended)
    return all_sent
