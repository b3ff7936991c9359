"""A worker in which something fails at one place, and whose stop in order would then take two minutes.

    python fails_at.py agent|timer|task|start|recover ERROR worker ...

ERROR: known, such as a full disk; or a bug.
"""

import asyncio
import errno
import os
import sys
from typing import Any

where, what = sys.argv[1], sys.argv[2]
sys.argv[1:3] = []

from yasdg_app import application  # noqa: E402
from yasdg_app.errors import YasdgError  # noqa: E402
from yasdg_app.faust_runtime.table import ChunkedTable  # noqa: E402
from yasdg_app.pipeline import inventory_agent as inventory  # noqa: E402
from yasdg_app.pipeline import sales_timer as tills  # noqa: E402

ERRORS: dict[str, Exception] = {
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/purchases"),
    "told": YasdgError("The shop cannot be had.\nIt is closed."),
    "kafka": application.KafkaError("the cluster is full"),
    "bug": ZeroDivisionError("division by zero"),
}


async def fail(*_: Any, **__: Any) -> Any:
    raise ERRORS[what]


async def wait_for_ever(*_: Any) -> None:
    await asyncio.sleep(120)


def gets_through(self: Any) -> bool:
    if tills.app.counts["sales"]:
        raise ERRORS[what]
    return True


match where:
    case "agent":
        inventory._apply = fail
    case "timer":
        tills.Tills.ring_up = fail  # type: ignore[method-assign]
    case "task":
        application.ShopApp._gets_through = gets_through  # type: ignore[method-assign]
    case "start":
        application.open_shop = fail
    case "recover":
        ChunkedTable.recover = fail  # type: ignore[method-assign]
application.ShopApp.on_shutdown = wait_for_ever  # type: ignore[method-assign]

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
