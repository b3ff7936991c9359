"""A worker to which the cluster does not answer some of the changes of the table: they are in the log, or they are not.

python unanswered_appends.py TOPIC taken|lost worker ...
"""

import sys
from typing import Any

from patching import replace

from yasdg_app.__main__ import main
from yasdg_app.kafka.producer import ShopProducer, UnknownOutcomeError

topic, what = sys.argv[1], sys.argv[2]
EVERY = 7  # changes of the table
append, count = ShopProducer.append_batches, 0


async def append_unanswered(
    self: ShopProducer, to: str, partition: int, batches: Any, *rest: Any, **options: Any
) -> Any:
    global count
    listed = list(batches)
    count += to == topic and bool(listed)
    unanswered = to == topic and bool(listed) and count % EVERY == 0
    if unanswered and what == "lost":
        raise UnknownOutcomeError(f"{to}, partition {partition}: no answer")
    appended = await append(self, to, partition, listed, *rest, **options)
    if unanswered:
        raise UnknownOutcomeError(f"{to}, partition {partition}: no answer")
    return appended


if __name__ == "__main__":
    replace(ShopProducer, "append_batches", append_unanswered)
    sys.argv[1:3] = []
    main()
