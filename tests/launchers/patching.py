"""How a launcher changes a worker: it replaces attributes that must exist, so a renamed one ends the worker."""

from typing import Any


def replace(owner: Any, name: str, value: Any) -> None:
    """Set an attribute of a module or class. Raises AttributeError if there is none of that name."""
    if not hasattr(owner, name):
        raise AttributeError(f"{owner!r} has no {name!r} to replace; was it renamed? Correct this launcher.")
    setattr(owner, name, value)
