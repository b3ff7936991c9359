"""A worker whose appends to one topic take long.

python slow_appends.py TOPIC SECONDS worker ...
"""

import asyncio
import sys
from typing import Any

from patching import replace

from yasdg_app.__main__ import main
from yasdg_app.kafka.producer import ShopProducer

topic, seconds = sys.argv[1], float(sys.argv[2])
append = ShopProducer.append_batches


async def slow_append(self: ShopProducer, to: str, *rest: Any, **options: Any) -> Any:
    if to == topic:
        await asyncio.sleep(seconds)
    return await append(self, to, *rest, **options)


if __name__ == "__main__":
    replace(ShopProducer, "append_batches", slow_append)
    sys.argv[1:3] = []
    main()
