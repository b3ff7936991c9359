"""`yasdg verify` never passes in silence and never ends in a traceback, whatever file it is given."""

import contextlib
import csv
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from support import product_ids
from support.scenario_plans import DAY, HOUR, MINUTE, PROJECT, plan_of

from yasdg_app.cluster_state.running_shop import RunningShop
from yasdg_app.config.settings import Settings
from yasdg_app.messages.times import event_time, time_text
from yasdg_app.shop.plan import Plan
from yasdg_app.truth.engine_files import FileError, Source
from yasdg_app.truth.offline_stream import stream
from yasdg_app.truth.report import ComparisonReport
from yasdg_app.truth.source import TruthError, TruthSource
from yasdg_app.truth.tables import FORMATS
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.verify import VerifyOptions, compare
from yasdg_app.truth.windows import Keys, aggregates, sorted_products

BEGIN = plan_of("week", "2026-06-05").opened_at


@cache
def plan() -> Plan:
    return plan_of("week", "2026-06-05", SALES_MIN_SALE_FREQ="40", SALES_MAX_SALE_FREQ="80")


SHOP = RunningShop.of(Settings(), ())


def known(of: Plan | None = None, closes_at: int | None = None) -> TruthSource:
    """A shop; it closes one day, or never."""

    class Closing(TruthSource):
        closes = property(lambda self: True)  # type: ignore[assignment]
        until = property(lambda self: closes_at - 1)  # type: ignore[assignment, operator]

    return (TruthSource if closes_at is None else Closing)(
        SHOP, of or plan(), (of or plan()).opened_at + 30 * DAY, "a test"
    )


def truth(kind: str, window: int = HOUR, by: str = "product", of: Plan | None = None, length: int = DAY) -> bytes:
    of = of or plan()
    keys, span = Keys(sorted_products(of), by), Span(of.opened_at, of.opened_at + length, window)
    table = FORMATS[kind](keys, span)
    parts = [table.rows(rows) for rows, _ in aggregates(of, keys, span, of.opened_at + 30 * DAY)]
    return b"".join([*parts, table.end()])


def purchases(length: int = DAY) -> bytes:
    return b"".join(bytes(part.text) for part in stream("purchases", plan(), plan().opened_at + length - 1))


def verified(path: Path, of: Plan | None = None, closes_at: int | None = None, kind: str | None = None,
             **asked: Any) -> ComparisonReport:  # fmt: skip
    if closes_at is None:
        asked = {"end": (of or plan()).opened_at + DAY} | asked
    return compare(Source(path, kind), known(of, closes_at), VerifyOptions(**asked))


def kinds(report: ComparisonReport) -> dict[str, int]:
    return dict(report.kinds)


def minutes_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewritten(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_sums_without_a_row_are_all_missing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"sums.{kind}"
    data = truth(kind)
    if kind == "csv":
        path.write_bytes(data.partition(b"\n")[0])
    else:
        parquet.write_table(parquet.read_table(pa.BufferReader(data)).slice(0, 0), path)
    report = verified(path)
    assert (report.rows, kinds(report)) == (0, {"missing": report.wanted})
    assert report.wanted > 100


def test_purchases_without_a_row_are_all_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("transaction_id,quantity,total_purchase\n")
    report = verified(tmp_path / "a.csv")
    assert (report.rows, kinds(report)) == (0, {"missing": purchases().count(b"\n")})


def test_columns_that_are_not_compared_are_named(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in truth("json").splitlines()]
    path = rewritten(tmp_path / "a.jsonl", [row | {"avg_price": 4.5, "Sales": row["sales"]} for row in rows])
    report = verified(path)
    assert (report.equal, list(report.uncompared)) == (True, ["avg_price", "Sales"])
    assert report.as_json()["not_compared"] == ["avg_price", "Sales"]


def test_a_column_that_comes_late_or_in_another_part_is_compared_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yasdg_app.truth.engine_files.JSON_HEAD_LINES", 1)
    first, *rows = [json.loads(line) for line in truth("json").splitlines()]
    few = {"window_start": first["window_start"], "product_id": first["product_id"], "sales": first["sales"]}
    path = rewritten(tmp_path / "a.jsonl", [few, *rows])
    report = verified(path)
    assert (list(report.columns), report.equal) == (["sales"], False)  # restocks and lost sales have rows, too
    assert {"units", "revenue", "closing_stock"} <= {*report.uncompared}

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.csv").write_text("window_start,product_id,sales\n")
    (tmp_path / "parts" / "2.csv").write_bytes(truth("csv").replace(b"units", b"pieces", 1))
    report = verified(tmp_path / "parts")
    assert ("revenue" in report.columns, list(report.uncompared)) == (True, ["pieces"])


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (
            ("sales", "avg_price"),
            "column that cannot be compared: avg_price; expected some of window_start, window_end, pro",
        ),
        (("sales", "margin"), "column not found: margin; found window_start, window_end, product_id, sales"),
        (("window_start",), "expected some of the columns sales, units, revenue"),
    ],
)
def test_a_column_that_is_asked_for_and_cannot_be_compared_fails(
    tmp_path: Path, named: tuple[str, ...], why: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(truth("csv").replace(b"\n", b",avg_price\n", 1).replace(b"\n2026", b",4.5\n2026")[:-1] + b",4.5\n")
    with pytest.raises(FileError) as error:
        verified(path, columns=named)
    assert why in str(error.value)


def test_only_the_columns_that_are_asked_for_are_compared(tmp_path: Path) -> None:
    lines = purchases().splitlines()
    rows = [json.loads(line) for line in lines]
    path = rewritten(tmp_path / "a.jsonl", [row | {"quantity": 9} for row in rows])
    assert kinds(verified(path)) == {"wrong": len(lines)}
    report = verified(path, columns=("total_purchase", "transaction_id"))
    assert (report.equal, list(report.columns)) == (True, ["total_purchase"])
    assert "quantity" in report.uncompared


def test_an_end_of_a_window_that_is_another_is_wrong(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in truth("json").splitlines()]
    rows[7]["window_end"] = rows[-1]["window_end"]
    report = verified(rewritten(tmp_path / "a.jsonl", rows))
    assert kinds(report) == {"wrong": 1}
    assert "window_end" in report.findings[0].values


@pytest.mark.parametrize("inclusive", [1, 1_000])  # microseconds from the last moment of a window to the next one
def test_ends_that_are_the_last_moments_of_windows_have_a_way_out(tmp_path: Path, inclusive: int) -> None:
    rows = [json.loads(line) for line in truth("json").splitlines()]
    for row in rows:
        row["window_end"] = time_text(event_time(row["window_end"]) - inclusive)
    path = rewritten(tmp_path / "a.jsonl", rows)
    with pytest.raises(FileError, match="expected whole seconds") as error:
        verified(path)
    assert "set --window, and in --columns the columns to compare, without window_end" in str(error.value)
    named = ("sales", "revenue")
    report = verified(path, window=HOUR, columns=named)
    assert (report.equal, list(report.columns), report.rows > 100) == (True, [*named], True)
    assert "window_end" in report.uncompared
    wrong = verified(path, window=HOUR, columns=(*named, "window_end"))
    assert kinds(wrong) == {"wrong": wrong.rows}


def test_the_length_of_windows_is_read_from_ends_that_are_not_compared(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in truth("json").splitlines()]
    report = verified(rewritten(tmp_path / "a.jsonl", rows), columns=("sales",))
    assert report.equal


# --- Where windows lie ----------------------------------------------------------------------------------------------


def moved(row: dict[str, Any], by: int) -> dict[str, Any]:
    start, end = (datetime.fromisoformat(row[name]) + timedelta(microseconds=by) for name in
                  ("window_start", "window_end"))  # fmt: skip
    return row | {"window_start": str(start), "window_end": str(end)}


def test_windows_outside_the_shops_life_are_unknown_unless_other_times_were_asked_for(tmp_path: Path) -> None:
    closes_at = BEGIN + DAY
    rows = [json.loads(line) for line in truth("json").splitlines()]
    early, late = moved(rows[0], -5 * DAY), moved(rows[0], 5 * DAY)
    path = rewritten(tmp_path / "a.jsonl", [early, *rows, late])
    assert kinds(verified(path, closes_at=closes_at)) == {"unknown": 2}
    report = verified(path, closes_at=closes_at, begin=BEGIN)
    assert (kinds(report), report.outside) == ({"unknown": 1}, 1)
    report = verified(path, closes_at=closes_at, end=closes_at)
    assert (kinds(report), report.outside) == ({"unknown": 1}, 1)
    report = verified(path, closes_at=closes_at, begin=BEGIN, end=closes_at)
    assert (kinds(report), report.outside) == ({}, 2)
    report = verified(path, closes_at=closes_at, begin=BEGIN - 9 * DAY, end=closes_at + 9 * DAY)
    assert kinds(report) == {"unknown": 2}


def test_a_row_of_zeros_outside_the_shops_life_says_nothing(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in truth("json").splitlines()]
    zeros = {name: 0 for name, value in rows[0].items() if isinstance(value, int | float)} | {"cost": None}
    path = rewritten(tmp_path / "a.jsonl", [moved(rows[0] | zeros, -5 * DAY), *rows])
    report = verified(path, closes_at=BEGIN + DAY)
    assert (kinds(report), report.outside) == ({}, 1)


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (1, 0), (1, 1)])
def test_windows_that_are_cut_are_not_judged(tmp_path: Path, begin: int, end: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(truth("csv"))
    span = {"begin": BEGIN + 2 * HOUR + begin * 7 * MINUTE, "end": BEGIN + 20 * HOUR + end * 7 * MINUTE}
    report = verified(path, **span)
    assert (report.kinds, report.begin) == ({}, time_text(BEGIN + (2 + begin) * HOUR))
    assert report.end == time_text(BEGIN + 20 * HOUR)
    assert report.rows == report.wanted > 0
    assert report.outside > 0
    with pytest.raises(TruthError, match="There is no complete window of 1 h between"):
        verified(path, begin=BEGIN + 2 * HOUR + MINUTE, end=BEGIN + 3 * HOUR + MINUTE)


def test_windows_that_the_shops_own_first_and_last_moment_cut_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(truth("csv", 7 * HOUR))
    for asked in ({}, {"begin": BEGIN}, {"begin": BEGIN - HOUR, "end": BEGIN + 2 * DAY}):
        report = verified(path, closes_at=BEGIN + DAY, **asked)
        assert report.equal
        assert report.rows == path.read_bytes().count(b"\n") - 1


# --- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(FORMATS))
@pytest.mark.parametrize(("by", "name"), [("product", "NULL"), ("category", "null"), ("category", "\\N")])
def test_null_may_be_a_name(tmp_path: Path, kind: str, by: str, name: str) -> None:
    catalog = tmp_path / "products.csv"
    old = b"CS01," if by == "product" else b",Classic Smoothies,"
    text = (PROJECT / "products.csv").read_bytes()
    assert old in text
    catalog.write_bytes(text.replace(old, old.replace(old.strip(b","), name.encode())))
    of = plan_of("week", "2026-06-05", SALES_PRODUCTS=str(catalog))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(truth(kind, by=by, of=of))
    assert name.encode() in path.read_bytes()
    report = verified(path, of, by=by)
    assert (report.kinds, report.rows) == ({}, report.wanted)
    if by == "product":
        lines = b"".join(bytes(part.text) for part in stream("purchases", of, of.opened_at + DAY - 1))
        rows, nothing = [json.loads(line) for line in lines.splitlines()], "\\N"
        (tmp_path / "b.csv").write_text(
            "transaction_id,product_id,substituted_from\n"
            + "".join(
                f"{row['transaction_id']},{row['product_id']},{row['substituted_from'] or nothing}\n" for row in rows
            )
        )
        assert verified(tmp_path / "b.csv", of).equal


@pytest.mark.parametrize("kind", list(FORMATS))
def test_ids_may_be_any_text(tmp_path: Path, kind: str) -> None:
    with (tmp_path / "own.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("ID", "Item", "Price"))
        writer.writerows((product_id, "Emma", "4.99") for product_id in product_ids.ODD)
    of = plan_of("week", "2026-06-05", SALES_PRODUCTS=str(tmp_path / "own.csv"), SALES_MAX_SALE_FREQ="60")
    path = tmp_path / f"a.{kind}"
    path.write_bytes(truth(kind, by="product", of=of))
    report = verified(path, of, by="product")
    assert (report.kinds, report.rows) == ({}, report.wanted)
    lines = b"".join(bytes(part.text) for part in stream("purchases", of, of.opened_at + DAY - 1))
    rows = [json.loads(line) for line in lines.splitlines()]
    assert len({row["product_id"] for row in rows}) > 40
    path = tmp_path / f"b.{kind}"
    if kind == "json":
        path.write_bytes(lines)
    elif kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0].keys())
            table.writeheader()
            table.writerows(rows)
    report = verified(path, of)
    assert (report.kinds, report.rows) == ({}, len(rows))


@pytest.mark.parametrize("kind", list(FORMATS))
def test_a_row_without_a_name_is_told_of(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    data = truth(kind)
    if kind == "csv":
        path.write_bytes(data + b"2026-06-05 10:00:00,2026-06-05 11:00:00,,1,,,,,,,,,,,\n")
    elif kind == "json":
        path.write_bytes(data + b'{"window_start": "2026-06-05 10:00:00", "window_end": "2026-06-05 11:00:00"}\n')
    else:
        table = parquet.read_table(pa.BufferReader(data))
        rows = table.to_pylist()
        rows.append(rows[0] | {"product_id": None})
        fields = [pa.field(field.name, field.type) for field in table.schema]
        parquet.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path)
    report = verified(path)
    assert kinds(report) == {"unknown": 1}
    assert report.findings[0].place["product_id"] == "NULL"
    assert report.findings[0].why == "no such product_id"


# --- Any file -------------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, -1, 2**62, 2**70, 1e300, -0.0, float("inf"), float("nan"), "", "NULL", "nan", "1e999", "x", "\0",
    [], [1, "a"], {}, {"a": {"b": None}}, "9999-12-31 23:59:59", "0001-01-01", "2026-06-05T10:00:00+14:00", "²",
    "é" * 9, "-" * 300,
)  # fmt: skip


def odd_arrays(rows: int) -> list[pa.Array]:
    """Columns of Parquet of every kind, with the extremes of each."""
    ends = [2**63 - 1, -(2**63), 0]
    made = [pa.array([ends[n % 3] for n in range(rows)], pa.int64())]
    times = [pa.timestamp(unit, tz=zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Berlin")]
    arrays = [made[0].cast(kind) if kind.unit != "s" else made[0].view(kind) for kind in times]
    arrays += [made[0].view(pa.time64("us")), made[0].view(pa.duration("s")), made[0].view(pa.date64())]
    arrays += [pa.array([2**31 - 1] * rows, pa.int32()).view(pa.date32()), pa.nulls(rows)]
    arrays += [pa.array([2**64 - 1] * rows, pa.uint64()), pa.array([float("nan")] * rows)]
    arrays += [
        pa.array(np.array([6e4] * rows, dtype=np.float16)),
        pa.array([Decimal(10) ** 70] * rows, pa.decimal256(76, 2)),
    ]
    arrays += [pa.array([b"\xff\xfe"] * rows), pa.array([{"a": 1}] * rows), pa.array([[1]] * rows)]
    arrays += [pa.array([b"\xff"] * rows).view(pa.string()), pa.array(["a"] * rows).dictionary_encode()]
    return arrays


def spoiled_bytes(data: bytes, dice: Random) -> bytes:
    """A file that was cut, or has bytes that are others, more or fewer."""
    place = dice.randrange(len(data))
    match dice.randrange(6):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + dice.randbytes(dice.randrange(1, 50)) + data[place:]
        case 2:
            return data[:place] + data[place + dice.randrange(1, 3000) :]
        case 3:
            changed = bytearray(data)
            for _ in range(20):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
            return bytes(changed)
        case 4:
            return data.decode("latin-1").encode("utf-16")
        case _:
            return data.replace(
                dice.choice([b",", b'"', b"\n", b"0", b"{", b"window_"]), dice.choice([b"", b'"', b"\0"])
            )


def spoiled_rows(data: bytes, dice: Random) -> bytes:
    """Lines of JSON, some of whose values are odd, or in which a column is double, gone, or of another name."""
    rows = [json.loads(line) for line in data.splitlines()]
    column = dice.choice([*rows[0]])
    for row in rows if dice.random() < 0.3 else dice.sample(rows, 5):
        row[column] = dice.choice(ODD)
    lines = [json.dumps(row) for row in rows]
    lines[dice.randrange(len(lines))] = dice.choice(
        ["[" * 100_000, "[]", "7", "{", '{"a": 1, "a": 2}', "null", "\ufeff{}"]
    )
    return "\n".join(lines).encode(errors="surrogatepass")


def spoiled_table(data: bytes, dice: Random) -> bytes:
    """Parquet in which columns are of another kind, double, or gone."""
    table = parquet.read_table(pa.BufferReader(data))
    place = dice.randrange(table.num_columns)
    match dice.randrange(3):
        case 0:
            table = table.set_column(place, table.column_names[place], dice.choice(odd_arrays(len(table))))
        case 1:
            table = table.append_column(table.column_names[place], table.column(place))
        case _:
            table = table.remove_column(place)
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("seed", range(4))
def test_any_file_gives_a_report_or_one_line(tmp_path: Path, seed: int) -> None:
    dice = Random(seed)
    good = {"json": truth("json"), "csv": truth("csv"), "parquet": truth("parquet"), "jsonl": purchases()}
    wrong = 0
    for number in range(60):
        kind = dice.choice([*good])
        spoil: Callable[[bytes, Random], bytes] = spoiled_bytes
        if dice.random() < 0.6 and kind != "csv":
            spoil = spoiled_table if kind == "parquet" else spoiled_rows
        try:
            data = spoil(good[kind], dice)
        except pa.ArrowException:  # cannot even be written
            continue
        packed = dice.random() < 0.1
        path = tmp_path / f"{number}.{kind}{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(data)[: -dice.randrange(3) or None] if packed else data)
        asked = {} if dice.random() < 0.7 else {"columns": ("revenue",), "window": dice.choice([HOUR, "all", None])}
        try:
            report = verified(path, **asked)
        except (FileError, TruthError) as error:
            assert "\n" not in str(error)
            wrong += 1
            continue
        json.dumps(report.as_json())
        wrong += not report.equal
        if report.equal:  # what was spoiled is in no column that was compared, or it was no more than a way of writing
            assert report.rows >= report.wanted > 0
    assert wrong > 20


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b""), ("a.csv", b"\n\n"), ("a.csv", b"\0" * 100), ("a.csv", b'"' + b"x" * 200_000), ("a.jsonl", b""),
        ("a.csv", b"window_start,product_id,sales,sales\n2026-06-05 10:00,CS01,1,2\n"), ("a.jsonl", b"[1, 2]"),
        ("a.parquet", b""), ("a.parquet", b"PAR1"), ("a.parquet", b"PAR1" + b"\xff" * 50 + b"PAR1"),
        ("a.csv.gz", b"a,b\n"),
        ("a.csv.zst", b"a,b\n"), ("a.parquet.gz", b"PAR1"), ("a", b"a"), ("a.xlsx", b"a"), ("a.csv", b"\xff\xfea\0,\0"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_said_in_one_line(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FileError) as error:
        verified(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_column_that_is_there_twice_is_not_compared_in_silence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(truth("csv").replace(b",revenue,", b",units,", 1))
    with pytest.raises(FileError, match="the column units occurs more than once"):
        verified(tmp_path / "a.csv")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(FileError, match="expected a file or a folder"):
        Source(tmp_path / "a.csv", None)
    (tmp_path / "b").mkdir()
    with contextlib.suppress(OSError):
        (tmp_path / "b" / "a.csv").symlink_to(tmp_path / "nowhere.csv")
    with pytest.raises(FileError, match="the folder contains no file"):
        Source(tmp_path / "b", None)
