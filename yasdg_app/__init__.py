"""Yet Another Streaming Data Generator: a smoothie shop on Apache Kafka, simulated by a Faust application.

``yasdg_app.app`` is the Faust application, so that ``faust -A yasdg_app worker`` finds it. It is assembled on first
use: importing the simulated world (``yasdg_app.shop``) alone needs neither Faust nor a configuration.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "app":
        from yasdg_app.application import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
