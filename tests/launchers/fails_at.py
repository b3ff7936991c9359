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

from patching import replace  # noqa: E402

from yasdg_app import app  # noqa: E402
from yasdg_app.cluster_state import running_shop  # noqa: E402
from yasdg_app.errors import YasdgError  # noqa: E402
from yasdg_app.faust_runtime.shop_app import ShopApp  # noqa: E402
from yasdg_app.faust_runtime.table import ChunkedTable  # noqa: E402
from yasdg_app.pipeline.inventory_agent import InventoryAgent  # noqa: E402
from yasdg_app.pipeline.sales_generator import SalesGenerator  # noqa: E402

ERRORS: dict[str, Exception] = {
    "disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/purchases"),
    "told": YasdgError("The shop cannot be had.\nIt is closed."),
    "kafka": running_shop.KafkaError("the cluster is full"),
    "bug": ZeroDivisionError("division by zero"),
}


async def fail(*_: Any, **__: Any) -> Any:
    raise ERRORS[what]


async def wait_for_ever(*_: Any) -> None:
    await asyncio.sleep(120)


def gets_through(self: Any) -> bool:
    if app.shop.counts["sales"]:
        raise ERRORS[what]
    return True


match where:
    case "agent":
        replace(InventoryAgent, "_apply", fail)
    case "timer":
        replace(SalesGenerator, "run_round", fail)
    case "task":
        replace(ShopApp, "_cluster_responds", gets_through)
    case "start":
        replace(running_shop, "open_shop", fail)
    case "recover":
        replace(ChunkedTable, "recover", fail)
replace(ShopApp, "on_shutdown", wait_for_ever)

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
