"""A stand-in until the branch w-windows is merged: no sales are known."""

from typing import Any

Sums = dict[str, tuple[int, int, int]]
latest_restocks: list[dict[str, Any]] = []
latest_lost_sales: list[dict[str, Any]] = []


def sums(window: str, through: int) -> Sums:
    return {}


def series(first: int, through: int) -> dict[str, list[tuple[int, int, int]]]:
    return {}


def complete_from() -> dict[int, int]:
    return {}


def complete_through() -> dict[int, int]:
    return {}
