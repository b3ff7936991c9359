"""`yasdg truth` and `yasdg verify` as a person types them, without a cluster."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

PROJECT = Path(__file__).parents[2]
WEEK = {"YASDG_CONFIG": str(PROJECT / "config" / "scenarios" / "week.ini")}
NOWHERE = {"YASDG_KAFKA_BOOTSTRAP_SERVERS": "nowhere.invalid:1"}
FAULTY = {f"YASDG_FAULTS_{name}": ".01" for name in ("LATE", "DUPLICATE", "DROPPED", "CORRUPT")}


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")}
    return subprocess.run(
        [sys.executable, "-m", "yasdg_app", *arguments], cwd=folder, env=clean | NOWHERE | environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def rows(text: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(text))]


def test_it_says_what_it_goes_by_and_has_the_week(tmp_path: Path) -> None:
    told = run(tmp_path, "truth", "--window", "1d", "--by", "category", **WEEK)
    assert told.returncode == 0
    assert "from the configuration alone" in told.stderr
    assert "nowhere.invalid:1 does not answer" in told.stderr
    week = rows(told.stdout)
    assert sum(int(row["sales"]) for row in week) == 40_163  # as `yasdg generate` has it
    assert [*week[0]] == [
        "window_start", "window_end", "category", "sales", "units", "revenue", "members", "supplements", "discount",
        "cost", "restocks", "restocked_units", "lost_sales", "lost_units", "closing_stock",
    ]  # fmt: skip
    assert (week[0]["window_start"], week[0]["window_end"]) == (
        "2026-06-01 00:00:00.000000", "2026-06-02 00:00:00.000000"
    )  # fmt: skip
    assert all(len(row["revenue"].partition(".")[2]) == 2 for row in week)


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    for name in ("truth.csv", "truth.jsonl", "truth.parquet"):
        told = run(tmp_path, "truth", "--window", "1h", "-o", name, **WEEK)
        assert (told.returncode, told.stdout) == (0, ""), told.stderr
        assert f"{name}: " in told.stderr
    columns = "window_start::timestamp, product_id, sales, revenue::decimal(18, 2), cost::decimal(18, 2), closing_stock"
    zone = "set timezone = 'UTC'"
    tables = []
    for read in ("read_csv('{}/truth.csv')", "read_json('{}/truth.jsonl')", "'{}/truth.parquet'"):
        engine = duckdb.connect()
        engine.execute(zone)
        tables.append(engine.execute(f"select {columns} from {read.format(tmp_path)} order by 1, 2").fetchall())
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]) > 1_000
    kinds = duckdb.sql(f"describe select * from '{tmp_path}/truth.parquet'").fetchall()
    assert {name: kind for name, kind, *_ in kinds}["revenue"] == "DECIMAL(18,2)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["truth.csv", "truth.jsonl", "truth.parquet"]


def test_from_to_and_one_window_for_all(tmp_path: Path) -> None:
    span = ("--from", "2026-06-03 11:30", "--to", "2026-06-03T12:30Z")
    hours = rows(run(tmp_path, "truth", "--window", "1h", *span, **WEEK).stdout)
    assert {row["window_start"] for row in hours} == {"2026-06-03 11:00:00.000000", "2026-06-03 12:00:00.000000"}
    whole = rows(run(tmp_path, "truth", "--window", "all", *span, **WEEK).stdout)
    assert {(row["window_start"], row["window_end"]) for row in whole} == {
        ("2026-06-03 11:30:00.000000", "2026-06-03 12:30:00.000000")
    }
    for name in ("sales", "units", "restocked_units", "lost_sales"):
        assert sum(int(row[name]) for row in hours) == sum(int(row[name]) for row in whole)
    last = {row["product_id"]: row["closing_stock"] for row in hours}
    assert last == {row["product_id"]: row["closing_stock"] for row in whole}


def test_a_shop_that_begins_now_is_told_apart_by_its_first_moment(tmp_path: Path) -> None:
    past = {"YASDG_CLOCK_START": "2h", "YASDG_SALES_MAX_SALE_FREQ": "2"}
    told = run(tmp_path, "truth", "--window", "1m", **past)
    assert told.returncode == 0
    opened_at = told.stderr.rpartition("--opened-at '")[2][:26]
    some = str(datetime.fromisoformat(opened_at[:16]) + timedelta(minutes=3))  # of which the first may have no sale
    again = run(tmp_path, "truth", "--window", "1m", "--opened-at", opened_at, "--to", some, **past)
    assert "the time of its opening is given" in again.stderr
    assert again.stdout.splitlines()[1:] == told.stdout.splitlines()[1 : len(again.stdout.splitlines())]


def test_a_run_of_so_many_sales_ends_with_the_last_of_them(tmp_path: Path) -> None:
    counted = WEEK | {"YASDG_SALES_NUMBER_OF_SALES": "700", "YASDG_CLOCK_END": "never"}
    assert run(tmp_path, "generate", "--to", "sales.jsonl", **counted).returncode == 0
    last = json.loads((tmp_path / "sales.jsonl").read_text().splitlines()[-1])["transaction_time"]
    whole = rows(run(tmp_path, "truth", "--window", "all", **counted).stdout)
    assert sum(int(row["sales"]) for row in whole) == 700
    assert {row["window_end"][:25] for row in whole} == {last[:25]}
    assert run(tmp_path, "verify", "sales.jsonl", **counted).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("truth", "--window", "1.5s"), 2, "expected whole seconds such as 10s"),
        (("truth", "--window", "0s"), 2, "expected whole seconds"),
        (("truth", "--from", "yesterday"), 2, "expected a time (UTC) such as"),
        (("truth", "--from", "2026-06-01 08:00+02:00"), 2, "expected a time (UTC) such as"),
        (("truth", "--by", "item"), 2, "'product', 'category'"),
        (("truth", "--from", "2026-07-01"), 1, "There are no sales from 2026-07-01"),
        (("truth", "--to", "2026-05-01"), 1, "the shop opened 2026-05-31 22:00"),
        (("truth", "-o", "."), 1, "is a folder"),
        (("truth", "--allowed-lateness", "10s"), 1, "[FAULTS]"),
        (("truth", "--deduplicated"), 1, "requires --allowed-lateness"),
        (("verify", "nothing.csv"), 2, "nothing.csv: file not found"),
        (("verify", "odd.dat"), 2, "Set --format csv, json, parquet"),
        (("verify", "odd.csv"), 2, "expected a column transaction_id, or window_start and product_id or category"),
        (("verify", "bare.csv"), 2, "expected some of the columns sales, units"),
        (("verify", "odd.dat", "--format", "parquet"), 2, "odd.dat"),
        (("verify", "empty"), 2, "the folder contains no file"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path, arguments: Sequence[str], status: int, words: str
) -> None:
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    (tmp_path / "odd.dat").write_text("a,b\n1,2\n")
    (tmp_path / "bare.csv").write_text("window_start,product_id,average\n2026-06-01 10:00,CS01,2\n")
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, *arguments, **WEEK)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples(tmp_path: Path) -> None:
    for name in ("truth", "verify"):
        told = run(tmp_path, name, "--help")
        assert "Examples:" in told.stdout
        assert "Exit status" in told.stdout


def test_a_shop_without_end_has_to_be_told_up_to_when(tmp_path: Path) -> None:
    (tmp_path / "sales.jsonl").write_text('{"transaction_id": "CS01-000001"}\n')
    done = run(tmp_path, "verify", "sales.jsonl", YASDG_CLOCK_START="2026-06-01")
    assert (done.returncode, "--to '" in done.stderr) == (2, True), done.stderr


def test_a_shop_that_begins_now_is_none_to_verify_by(tmp_path: Path) -> None:
    (tmp_path / "sales.jsonl").write_text('{"transaction_id": "CS01-000001"}\n')
    now = {"YASDG_CLOCK_START": "2h", "YASDG_SALES_MAX_SALE_FREQ": "2"}
    done = run(tmp_path, "verify", "sales.jsonl", "--to", "2030-01-01", **now)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "Set --opened-at" in done.stderr
    assert "nowhere.invalid:1 does not answer" in done.stderr
    assert "a simulated shop" in run(tmp_path, "truth", "--window", "1h", **now).stderr
    given = run(
        tmp_path, "verify", "sales.jsonl", "--opened-at", "2026-06-01 08:00:00", "--to", "2026-06-01 09:00", **now
    )
    assert (given.returncode, "unknown" in given.stdout or "missing" in given.stdout) == (1, True), given.stderr


# --- verify ---


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("week")
    for arguments in (
        ("generate", "--to", "sales.jsonl"),
        ("truth", "-o", "minutes.csv"),
        ("truth", "--window", "6h", "--by", "category", "-o", "hours.parquet"),
    ):
        assert run(folder, *arguments, **WEEK).returncode == 0
    return folder


@pytest.mark.parametrize("name", ["sales.jsonl", "minutes.csv", "hours.parquet"])
def test_what_is_as_it_should_be_is_said_to_be(week: Path, name: str) -> None:
    done = run(week, "verify", name, **WEEK)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "No differences found."), done.stdout + done.stderr
    report = json.loads(run(week, "verify", name, "--json", **WEEK).stdout)
    assert (report["equal"], report["findings"]) == (True, [])
    assert report["rows"] == report["wanted"] > 50


@pytest.mark.parametrize("span", [(), ("--from", "2026-06-03 11:30", "--to", "2026-06-04 17:00")])
def test_one_window_for_all_is_known_by_where_it_begins(tmp_path: Path, span: Sequence[str]) -> None:
    assert run(tmp_path, "truth", "--window", "all", *span, "-o", "all.csv", **WEEK).returncode == 0
    done = run(tmp_path, "verify", "all.csv", **WEEK)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "No differences found."), done.stdout + done.stderr


def test_windows_that_begin_anywhere_are_refused(week: Path, tmp_path: Path) -> None:
    head, *lines = (week / "minutes.csv").read_text().splitlines()
    moved = [f"{line[:17]}30{line[19:44]}30{line[46:]}" for line in lines]
    (tmp_path / "moved.csv").write_text("\n".join([head, *moved]))
    done = run(tmp_path, "verify", "moved.csv", **WEEK)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "do not begin at 2026-0" in done.stderr


def test_what_differs_is_told_to_people_and_programs(week: Path, tmp_path: Path) -> None:
    lines = (week / "sales.jsonl").read_text().splitlines()
    ids = [json.loads(line)["transaction_id"] for line in lines[:4]]
    changed = json.dumps(json.loads(lines[1]) | {"total_purchase": 0.99})
    (tmp_path / "sales.jsonl").write_text("\n".join([changed, lines[2], lines[2], "{oops", *lines[3:]]))
    done = run(tmp_path, "verify", "sales.jsonl", **WEEK)
    paid = json.loads(lines[1])["total_purchase"]
    assert done.returncode == 1
    for words in (
        "1 × missing", f"missing: {ids[0]}", f"wrong: {ids[1]}: total_purchase is 0.99, expected {paid}",
        f"double: {ids[2]}", "unreadable: line 4: '{oops'",
    ):  # fmt: skip
        assert words in done.stdout
    report = json.loads(run(tmp_path, "verify", "sales.jsonl", "--json", **WEEK).stdout)
    assert report["kinds"] == {"missing": 1, "double": 1, "wrong": 1, "unreadable": 1}
    wrong: dict[str, Any] = next(each for each in report["findings"] if each["kind"] == "wrong")
    assert (wrong["transaction_id"], wrong["values"]) == (
        ids[1], {"total_purchase": {"got": 0.99, "wanted": paid}}
    )  # fmt: skip


def test_a_dirty_shop_is_compared_with_what_an_engine_sees_if_that_is_asked_for(tmp_path: Path) -> None:
    shop = WEEK | FAULTY
    lateness = ("--window", "1h", "--allowed-lateness", "30s")
    assert run(tmp_path, "truth", *lateness, "-o", "seen.csv", **shop).returncode == 0
    assert run(tmp_path, "verify", "seen.csv", *lateness, **shop).returncode == 0
    clean = run(tmp_path, "verify", "seen.csv", "--window", "1h", "--json", **shop)
    report = json.loads(clean.stdout)
    assert clean.returncode == 1
    assert {"late", "missing", "double"} <= report["kinds"].keys()
    once = run(tmp_path, "verify", "seen.csv", *lateness, "--deduplicated", "--json", **shop)
    kinds = {each["kind"] for each in json.loads(once.stdout)["findings"] if each["ids"]}
    assert kinds == {"double"}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("minutes.csv", "--columns", "sales,revenue"), 0, "Not compared: window_end, units, members"),
        (("minutes.csv", "--columns", "sales,margin"), 2, "column not found: margin; found window_start"),
        (("minutes.csv", "--columns", "sales,"), 2, "expected names of columns, separated by commas"),
        (("minutes.csv", "--to", "2026-06-03 10:30:30"), 0, "or cut by --from or --to, were not compared"),
        (
            ("minutes.csv", "--from", "2026-06-03 10:30:05", "--to", "2026-06-03 10:30:30"),
            2,
            "There is no complete window of 1 min",
        ),
        (("early.csv",), 1, "unknown: 2025-06-01 00:00:00.000000 CS01 (the shop was not open yet, or had closed)"),
        (("early.csv", "--from", "2026-06-01"), 0, "1 windows of other times, or cut by --from or --to, were not"),
        (("empty.csv",), 1, " × missing"),
        (("odd\x1b\udcff.csv",), 2, "Cannot verify odd\\x1b\\udcff.csv: "),
        (("/dev/null", "--format", "csv"), 2, "/dev/null: expected a file or a folder"),
        ((".",), 2, "the format is not clear from the name"),
    ],
)
def test_it_never_passes_in_silence_and_never_ends_in_a_traceback(
    week: Path, tmp_path: Path, arguments: Sequence[str], status: int, words: str
) -> None:
    minutes = (week / "minutes.csv").read_text()
    (tmp_path / "minutes.csv").write_text(minutes)
    (tmp_path / "early.csv").write_text(
        f"{minutes}2025-06-01 00:00:00,2025-06-01 00:01:00,CS01,5,5,5.00,0,0,0.00,1.00,0,0,0,0,3\n"
    )
    (tmp_path / "empty.csv").write_text(minutes.partition("\n")[0])
    (tmp_path / "a.txt").touch()
    done = run(tmp_path, "verify", *arguments, **WEEK)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    if status == 2 and "Usage" not in done.stderr:
        assert len([line for line in done.stderr.splitlines() if "Truth computed from" not in line]) == 1
