"""The environment of a benchmark, as one line."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import psutil


def machine() -> str:
    """Return date, machine and versions."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("faust-streaming", "aiokafka", "numpy"))
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.machine()}; Python {platform.python_version()}, {libraries}, Apache Kafka 4.1"
    )
