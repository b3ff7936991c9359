"""What any engine's output of the golden shop is held against: Python's reading of the golden file, and the truth."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import golden
from support import Shop, yasdg

WINDOWS = {"minutes": "1m", "categories": "1m", "restocking": "1d"}
"""The jobs that make windows, and how long these are."""


class Planted(NamedTuple):
    """What the names of some topics begin with, and the purchase that is missing there."""

    topics: str
    missing: dict[str, Any]


class Output(NamedTuple):
    """Folders with what the jobs wrote: of the golden shop, and of its copy in which a purchase is missing."""

    whole: Path
    planted: Path


def rows(folder: Path) -> list[dict[str, Any]]:
    """Lines of JSON in all parts."""
    return [loads(line) for part in folder.rglob("part*") for line in part.read_bytes().splitlines()]


def loads(line: bytes | str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return row


def check_fields(read: list[dict[str, Any]]) -> None:
    """Each field of each golden purchase was read as Python reads it."""
    wanted = [loads(line) for line in golden.purchases()]
    found = {row["transaction_id"]: row for row in read}
    assert len(read) == len(found) == golden.COUNT
    for row in wanted:
        its = {name: found[row["transaction_id"]].get(name) for name in row}
        # Some engines leave out zeros at the end of a time.
        assert its | {"transaction_time": f"{its['transaction_time']:0<26}"} == row


def check_window(shop: Shop, output: Output, job: str) -> None:
    """Each window is the truth's; and where one purchase is missing, it is told which."""
    how = ("--format", "json", "--window", WINDOWS[job])
    verified = yasdg(shop, "verify", str(output.whole / job), *how)
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "All is as it should be."), verified
    planted = yasdg(shop, "verify", str(output.planted / job), *how, "--json")
    assert planted.returncode == 1, planted
    assert len(json.loads(planted.stdout)["findings"]) == 1, planted.stdout


def check_totals(shop: Shop, output: Output, planted: Planted) -> None:
    """The last of the running totals are those of the truth; and where one purchase is missing, they are not."""
    told = yasdg(shop, "truth", "--window", "all", "--format", "json")
    assert told.returncode == 0, told.stderr
    truth = {row["product_id"]: totals(row) for row in map(loads, told.stdout.splitlines())}
    assert last(rows(output.whole / "totals")) == truth
    product, price = planted.missing["product_id"], planted.missing["total_purchase"]
    sales, units, revenue = truth[product]
    less = (sales - 1, units - planted.missing["quantity"], revenue - price)
    assert last(rows(output.planted / "totals")) == truth | {product: less}


def last(running: list[dict[str, Any]]) -> dict[str, tuple[int, int, Decimal]]:
    return {row["product_id"]: totals(row) for row in sorted(running, key=lambda row: row["sales"])}


def totals(row: dict[str, Any]) -> tuple[int, int, Decimal]:
    return row["sales"], row["units"], row["revenue"]
