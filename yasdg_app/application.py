"""Temporary: what modules of web/ and cli/ that do not take the shop yet find under its old names.

`yasdg_app/app.py` fills it before it imports them. It goes when none of them imports it any more; how a page and a
command take the shop is described in web/pages.py and cli/commands.py.
"""

import importlib
from typing import Any

from yasdg_app.process.exits import exit_with_error as fail

__all__ = ["fail", "fill"]


class OldOwnership:
    """PartitionAssignment under its old names."""

    def __init__(self, assignment: Any) -> None:
        self._assignment = assignment

    def __getattr__(self, name: str) -> Any:
        names = {"settled": "is_active", "lease_left": "has_lease", "applied": "positions"}
        return getattr(self._assignment, names.get(name, name))


class OldApp:
    """App, shop and pipeline in one, under the old names."""

    def __init__(self, new: Any, pipeline: Any) -> None:
        self._new, self._pipeline = new, pipeline
        self.shop, self.ownership = pipeline.shop.settings, OldOwnership(pipeline.assignment)

    def __getattr__(self, name: str) -> Any:
        shop = self._pipeline.shop
        opened = {"opening": "manifest", "control": "control", "shop_producer": "producer", "reader": "reader"}
        if name in opened:
            if not shop.is_open:
                raise AttributeError(name)
            return getattr(shop, opened[name])
        if name in ("products", "connection", "format", "counts", "connect_broker", "leave_broker"):
            return getattr(shop, name)
        if name == "bootstrap_servers":
            return shop.connection.servers
        if name == "mirror":
            return self._pipeline.sink
        return getattr(self._new, {"closing": "is_closing"}.get(name, name))


NOT_CONVERTED = (
    "cli.truth",
    "cli.verify",
)
"""Modules that need the shop when they are imported."""

app: Any
watch: Any
tills: Any
inventory: Any
assortment: Any
level_of: Any
products_of: Any
windows: Any
PARTITIONS: int


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    importlib.import_module("yasdg_app.app").load()
    return globals()[name]


def fill(new: Any, pipeline: Any) -> None:
    """Fill this module, and import those that need it."""
    kafka, catalog, table = pipeline.shop.settings.kafka, pipeline.catalog, pipeline.inventory
    globals().update(
        app=OldApp(new, pipeline),
        watch=OldFollower(pipeline.follower),
        tills=pipeline.sales,
        inventory=table,
        assortment=catalog,
        level_of=table.level_of,
        products_of={partition: catalog.here(partition) for partition in range(kafka.partitions)},
        windows=pipeline.windows,
        PARTITIONS=kafka.partitions,
    )
    for name in NOT_CONVERTED:
        importlib.import_module(f"yasdg_app.{name}")


class OldFollower:
    """ControlFollower under its old names."""

    def __init__(self, follower: Any) -> None:
        self._follower = follower

    def __getattr__(self, name: str) -> Any:
        return getattr(self._follower, {"said": "state"}.get(name, name))
