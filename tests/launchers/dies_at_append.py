"""A worker that dies, as by `kill -9`, at a certain append.

    python dies_at_append.py TOPIC before|after NTH worker ...

`after` means that the cluster has the records, and nothing that should follow has happened.
"""

import os
import signal
import sys
from typing import Any

from patching import replace

from yasdg_app.__main__ import main
from yasdg_app.kafka.producer import ShopProducer
from yasdg_app.pipeline import shelf_snapshots

topic, moment, nth = sys.argv[1], sys.argv[2], int(sys.argv[3])
append, count = ShopProducer.append_batches, 0


async def dying_append(self: ShopProducer, to: str, partition: int, batches: Any, *rest: Any, **options: Any) -> Any:
    global count
    listed = list(batches)
    count += to == topic and bool(listed)
    if to == topic and count == nth and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    appended = await append(self, to, partition, listed, *rest, **options)
    if to == topic and count >= nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return appended


if __name__ == "__main__":
    replace(shelf_snapshots, "SNAPSHOT_EVERY_CUSTOMERS", 2000)  # so that some are kept before it dies
    replace(ShopProducer, "append_batches", dying_append)
    sys.argv[1:4] = []
    main()
