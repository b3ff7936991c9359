"""What any engine's output of the golden shop is held against: Python's reading of the golden file, and the truth."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from support.shop import Shop, yasdg

from oracles import golden

WINDOWS = {"minutes": "1m", "categories": "1m", "restocking": "1d"}
"""The jobs that make windows, and how long these are."""


class Planted(NamedTuple):
    """What the names of some topics begin with, and the purchase that is missing there."""

    topics: str
    missing: dict[str, Any]


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


def check_window(shop: Shop, output: Path, job: str) -> None:
    """Each window of a job is the truth's."""
    verified = verify(shop, output, job)
    assert (verified["kinds"], verified["rows"]) == ({}, verified["wanted"]), verified


def check_planted_window(shop: Shop, output: Path, job: str, missing: dict[str, Any]) -> None:
    """Where a purchase is missing, that is found, and nothing else."""
    (finding,) = verify(shop, output, job)["findings"]
    assert finding["ids"] in ([], [missing["transaction_id"]]), finding


def verify(shop: Shop, output: Path, job: str) -> dict[str, Any]:
    ran = yasdg(shop, "verify", str(output / job), "--format", "json", "--window", WINDOWS[job], "--json")
    assert ran.returncode in (0, 1), ran
    return loads(ran.stdout)


def check_totals(shop: Shop, output: Path) -> None:
    """The last of the running totals are those of the truth."""
    assert last(rows(output / "totals")) == truth(shop)


def check_planted_totals(shop: Shop, output: Path, missing: dict[str, Any]) -> None:
    """Where a purchase is missing, so it is in the last of the running totals of its product."""
    wanted = truth(shop)
    sales, units, revenue = wanted[missing["product_id"]]
    less = (sales - 1, units - missing["quantity"], revenue - missing["total_purchase"])
    assert last(rows(output / "totals")) == wanted | {missing["product_id"]: less}


def truth(shop: Shop) -> dict[str, tuple[int, int, Decimal]]:
    told = yasdg(shop, "truth", "--window", "all", "--format", "json")
    assert told.returncode == 0, told.stderr
    return {row["product_id"]: totals(row) for row in map(loads, told.stdout.splitlines())}


def last(running: list[dict[str, Any]]) -> dict[str, tuple[int, int, Decimal]]:
    return {row["product_id"]: totals(row) for row in sorted(running, key=lambda row: row["sales"])}


def totals(row: dict[str, Any]) -> tuple[int, int, Decimal]:
    return row["sales"], row["units"], row["revenue"]
