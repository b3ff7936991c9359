"""A worker whose aiokafka lacks an attribute that it relies on (see yasdg_app/faust_runtime/upstream.py)."""

import sys
from typing import Any

import aiokafka.consumer.consumer as consumer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from patching import replace


class Renamed(GroupCoordinator):
    """A coordinator that keeps what was `_rejoin_needed_fut` under another name."""

    def __getattribute__(self, name: str) -> Any:
        if name == "_rejoin_needed_fut" and sys._getframe(1).f_code.co_name == "commit_as_member":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return super().__getattribute__(name)


replace(consumer, "GroupCoordinator", Renamed)

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
