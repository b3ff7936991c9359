"""`yasdg generate` writes the very messages that workers append, in order of event time, without any broker."""

import errno
import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.faulty_channel import flawed
from oracles.simulation import Stream, simulate

from yasdg_app.cluster_state.lifetime import last_moment
from yasdg_app.config import catalog, ini
from yasdg_app.config.settings import FAULTS, FormatSettings, SalesSettings, Settings
from yasdg_app.messages import ids, reference
from yasdg_app.messages.encoders import LostSaleEncoder, PurchaseEncoder
from yasdg_app.messages.formats import json_format
from yasdg_app.messages.times import event_time
from yasdg_app.pipeline.faulty_channel import FaultyChannel
from yasdg_app.shop.faults import Faults
from yasdg_app.shop.plan import Plan
from yasdg_app.shop.sale_limit import SaleLimit
from yasdg_app.shop.sales import NO_PRODUCT
from yasdg_app.shop.till import Till
from yasdg_app.truth.offline_stream import FAULTY, FOREVER, INCIDENT_SPAN, KINDS, stream
from yasdg_app.truth.stream_end import GenerateError, last_event_time, most_sales

PROJECT = Path(__file__).parents[2]
NOW = 1_795_564_800_000_000  # 2026-11-25 00:00 UTC
HOUR, DAY = 3_600_000_000, 86_400_000_000
TIMED = [what for what in KINDS if what != "products"]

# Each shop is one in which something of its own happens.
STARTS = {"seed": "2026-06-01", "week": "2026-06-02", "supply-crisis": "2026-04-06", "year": "2026-06-05"}
LENGTHS = {"seed": 1, "week": 2, "supply-crisis": 12, "year": 2}  # days


def shop(scenario: str, start: str = "", **values: str) -> Settings:
    given = {f"YASDG_{key}": value for key, value in values.items()}
    given |= {"YASDG_CLOCK_START": start} if start else {}
    return ini.load({"YASDG_CONFIG": f"config/scenarios/{scenario}.ini"} | given, PROJECT)


def plan_of(of: Settings) -> Plan:
    assert isinstance(of.clock.start, datetime)
    opened_at = Plan.of(of, catalog.load(of.sales.products), 0).calendar.utc(of.clock.start)
    return Plan.of(of, catalog.load(of.sales.products), opened_at)


@lru_cache
def half_a_day(what: str) -> tuple[Plan, list[bytes]]:
    plan = plan_of(shop("week"))
    return plan, generated(what, plan, plan.opened_at + 12 * HOUR)


def generated(what: str, plan: Plan, until: int, **limits: Any) -> list[bytes]:
    parts = list(stream(what, plan, until, **limits))
    assert sum(part.rows for part in parts) == sum(part.text.count(b"\n") for part in parts)
    assert all(part.text.endswith(b"\n") for part in parts if part.text)
    assert [part.through for part in parts] == sorted(part.through for part in parts)
    return b"".join(part.text for part in parts).splitlines()


def place(value: bytes) -> tuple[str, ...]:
    """The place of a message in the order of the stream."""
    told = json.loads(value)
    if "incident" in told and "phase" in told:
        return told["event_time"], told["phase"], told["incident"]
    return told.get("transaction_time") or told["event_time"], told.get("substituted_from") or told["product_id"]


# --- The stream ---


@pytest.mark.parametrize("scenario", STARTS)
def test_it_is_the_simulated_shops_stream_in_order(scenario: str) -> None:
    plan = plan_of(shop(scenario, STARTS[scenario]))
    until = plan.opened_at + LENGTHS[scenario] * DAY
    simulated: Stream = simulate(plan, until)
    for what in TIMED:
        made = generated(what, plan, until)
        assert sorted(made) == sorted(getattr(simulated, what)), what
        assert made == sorted(made, key=place), what
    assert generated("purchases", plan, until) == simulated.purchases
    assert generated("lost_sales", plan, until) == simulated.lost_sales
    assert bool(simulated.lost_sales) == (scenario != "seed")


def merged(plan: Plan, partitions: int, until: int) -> list[bytes]:
    """What the tills of partitions, each on its own, ring up, put in the stream's order."""
    rows: list[tuple[int, str, bytes]] = []
    for partition in range(partitions):
        own = [
            product for product in plan.products if ids.default_partition(product.product_id, partitions) == partition
        ]
        till = Till(plan, own)
        encoder = PurchaseEncoder(till.products, plan.sales)
        product_ids = [product.product_id for product in till.products]
        while own and till.watermark < until:
            sales = till.generate_until(until).sales
            asked = [
                product_ids[product if instead == NO_PRODUCT else instead]
                for product, instead in zip(sales.product.tolist(), sales.requested_product.tolist(), strict=True)
            ]
            values = (value for _, value, _ in encoder.encode(sales))
            rows += zip(sales.at.tolist(), asked, values, strict=True)
    return [value for _, _, value in sorted(rows)]


@pytest.mark.parametrize(("scenario", "partitions"), [("week", 1), ("week", 8), ("year", 5)])
def test_it_is_what_the_workers_of_any_number_of_partitions_ring_up(scenario: str, partitions: int) -> None:
    plan = plan_of(shop(scenario, STARTS[scenario]))
    until = plan.opened_at + 2 * DAY
    ours, theirs = (
        hashlib.sha256(b"\n".join(lines)).hexdigest()
        for lines in (generated("purchases", plan, until), merged(plan, partitions, until))
    )
    assert ours == theirs


def test_sales_of_one_microsecond_are_in_the_order_of_what_was_asked_for() -> None:
    plan = plan_of(shop("chain", "2026-06-05 12:00", SALES_MAX_SALE_FREQ=".00001"))
    made = generated("purchases", plan, plan.opened_at + 400_000)
    times = [place(value) for value in made]
    assert len({at for at, _ in times}) < len(times)
    assert times == sorted(times)


@pytest.mark.parametrize("scenario", STARTS)
def test_levels_come_out_even(scenario: str) -> None:
    """Each restock is told of once, follows the one before it, and has found what the sales had left."""
    plan = plan_of(shop(scenario, STARTS[scenario]))
    until = plan.opened_at + LENGTHS[scenario] * DAY
    sales = [json.loads(value) for value in generated("purchases", plan, until)]
    restocks = [json.loads(value) for value in generated("stockings", plan, until)]
    assert restocks
    for product in plan.products:
        level = product.inventory
        mine = [each for each in sales + restocks if each["product_id"] == product.product_id]
        # A restock of the microsecond of a sale is caused by that sale.
        mine.sort(key=lambda each: (each.get("transaction_time") or each["event_time"], "event_time" in each))
        number = 0
        for each in mine:
            if "event_time" in each:
                number += 1
                assert each["stocking_id"] == f"{product.product_id}-R{number:06d}"
                assert each["existing_level"] == level
                level = each["new_level"]
            else:
                level -= each["quantity"]
            assert level >= 0


def test_restocks_that_come_late_are_told_of_in_order_wherever_parts_end() -> None:
    plan = plan_of(shop("supply-crisis", STARTS["supply-crisis"]))
    until = plan.opened_at + 30 * DAY
    parts = [part.text.splitlines() for part in stream("stockings", plan, until)]
    assert len([part for part in parts if part]) > 5
    made = [value for part in parts for value in part]
    assert made == sorted(made, key=place)


@given(st.integers(1, 700), st.sampled_from(TIMED))
def test_so_many_rows_are_the_first_ones(rows: int, what: str) -> None:
    plan, whole = half_a_day(what)
    assert generated(what, plan, plan.opened_at + 12 * HOUR, rows=rows) == whole[:rows]


def test_products_are_those_of_the_topic() -> None:
    plan = plan_of(shop("week"))
    made = generated("products", plan, FOREVER)
    assert made == [reference.encode(reference.product(product)) for product in plan.products]
    assert generated("products", plan, FOREVER, rows=3) == made[:3]


@pytest.mark.parametrize("number", [1, 999, 20_000])
@pytest.mark.parametrize("scenario", ["week", "year"])
def test_a_run_of_so_many_sales_ends_where_the_workers_end_it(scenario: str, number: int) -> None:
    plan = plan_of(shop(scenario, STARTS[scenario]))
    last = SaleLimit(plan, number)
    while last.cursor is None:
        last.look(FOREVER)
    till, sales, lost = Till(plan, plan.products), [], []
    encoder, lost_encoder = PurchaseEncoder(till.products, plan.sales), LostSaleEncoder(till.products, plan.sales)
    while till.watermark < last.cursor.at:
        served = last.without_later(till, till.generate_until(last.cursor.at))
        sales += [value for _, value, _ in encoder.encode(served.sales)]
        lost += [value for _, value, _ in lost_encoder.encode(served.lost)]
    assert len(sales) == number
    assert generated("purchases", plan, FOREVER, number_of_sales=number) == sales
    assert generated("lost_sales", plan, FOREVER, number_of_sales=number) == lost
    for what in ("stockings", "incidents"):
        assert generated(what, plan, FOREVER, number_of_sales=number) == generated(what, plan, last.cursor.at)


def test_incidents_of_years_are_told_of_once_and_in_order() -> None:
    plan = plan_of(shop("year", "2020-01-01"))
    until = plan.opened_at + 1000 * DAY
    told = plan.incidents.announcements(plan.opened_at, until + 1)
    wanted = [reference.encode(reference.announcement(*each)) for each in told]
    assert len(wanted) > 100
    assert generated("incidents", plan, until) == wanted


def test_an_incident_at_the_border_of_two_parts_is_told_of_once(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1)
    border = start + timedelta(microseconds=INCIDENT_SPAN)
    text = f"[CLOCK]\nstart = 2026-01-01\n[INCIDENT x]\nkind = storm\nstart = {border:%Y-%m-%d %H:%M}\n"
    (tmp_path / "x.ini").write_text(text)
    of = ini.load({"YASDG_CONFIG": "x.ini", "YASDG_SALES_PRODUCTS": str(PROJECT / "products.csv")}, tmp_path)
    plan = plan_of(of)
    for until in (INCIDENT_SPAN, 2 * INCIDENT_SPAN):
        phases = [json.loads(value)["phase"] for value in generated("incidents", plan, plan.opened_at + until)]
        assert phases == ["start", "end"][: until // INCIDENT_SPAN]


# --- How far it goes ---


def at(text: str) -> int:
    return event_time(f"{text}:00.000000")


REACHES = {
    "the end of the shop": (dict(start="2026-06-01", end="7d"), {}, at("2026-06-08 00:00") - 1),
    "also one that is to come": (dict(start="2026-06-01", end="2027-01-01"), {}, at("2027-01-01 00:00") - 1),
    "now": (dict(start="2026-06-01"), {}, NOW),
    "now, by the word": (dict(start="2026-06-01", end="2027-01-01"), dict(until="now"), NOW),
    "a duration": (dict(start="2026-06-01"), dict(until=timedelta(hours=1)), at("2026-06-01 01:00") - 1),
    "a time": (dict(start="2026-06-01"), dict(until=datetime(2026, 6, 2, 8)), at("2026-06-02 08:00") - 1),
    "no further than the end": (
        dict(start="2026-06-01", end="1d"), dict(until=timedelta(days=9)), at("2026-06-02 00:00") - 1,
    ),
    "a time on the shop's clock": (
        dict(start="2026-06-01", time_zone="Europe/Berlin"), dict(until=datetime(2026, 6, 2)),
        at("2026-06-01 22:00") - 1,
    ),
    "a duration from now": (dict(), dict(until=timedelta(hours=1)), NOW + HOUR - 1),
    "so many rows, whenever that is": (dict(), dict(rows=5), FOREVER),
    "so many sales, whenever that is": (dict(number_of_sales="5"), {}, FOREVER),
    "products have no time": (dict(), dict(what="products"), FOREVER),
}  # fmt: skip


@pytest.mark.parametrize(("clock", "asked", "wanted"), REACHES.values(), ids=REACHES)
def test_it_goes_up_to(clock: dict[str, str], asked: dict[str, object], wanted: int) -> None:
    assert reach(clock, asked) == wanted


def reach(clock: dict[str, str], asked: dict[str, object]) -> int:
    sections = {key: "SALES" if key == "number_of_sales" else "CLOCK" for key in clock}
    given = {f"YASDG_{sections[key]}_{key.upper()}": value for key, value in clock.items()}
    of = ini.load(given, PROJECT)
    products = catalog.load(of.sales.products)
    start = of.clock.start
    opened_at = NOW if start is None else Plan.of(of, products, 0).calendar.utc(start)  # type: ignore[arg-type]
    of_all = dict(what="purchases", until=None, rows=None) | asked
    return last_event_time(of, Plan.of(of, products, opened_at), NOW, **of_all)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("clock", "asked", "words"),
    [
        ({}, {}, ("shop opens now", "--until 1h, -n 1000", "YASDG_CLOCK_START=30d")),
        ({}, dict(until="now"), ("shop opens now",)),
        ({}, dict(what="lost_sales", rows=5), ("--until 1h, or set a start in the past",)),
        (
            dict(start="2026-06-01"), dict(until=datetime(2026, 6, 1)),
            ("--until 2026-06-01 00:00:00", "not after the shop's opening"),
        ),
    ],
)  # fmt: skip
def test_a_stream_without_end_is_refused(
    clock: dict[str, str], asked: dict[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(GenerateError) as refused:
        reach(clock, asked)
    assert all(word in str(refused.value) for word in words)


# --- The command ---

WEEK = {"YASDG_CONFIG": str(PROJECT / "config" / "scenarios" / "week.ini")}
NOWHERE = {"YASDG_KAFKA_BOOTSTRAP_SERVERS": "nowhere.invalid:1"}
COMMAND = (sys.executable, "-m", "yasdg_app", "generate")
ENDLESS = {"YASDG_SALES_MIN_SALE_FREQ": "0", "YASDG_SALES_MAX_SALE_FREQ": ".01", "YASDG_CLOCK_START": "2000-01-01"}


def clean(environment: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("YASDG_")} | NOWHERE | environment


def run(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=clean(environment), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=120,
    )  # fmt: skip


def week(what: str = "purchases") -> bytes:
    of = shop("week")
    plan = plan_of(of)
    closes_at = last_moment(of, plan.opened_at)
    assert closes_at is not None
    return b"".join(part.text for part in stream(what, plan, closes_at - 1))


def until(condition: Callable[[], object], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_the_whole_stream_and_nothing_else_is_left(tmp_path: Path) -> None:
    done = run(tmp_path, "--to", "sales.jsonl", **WEEK)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "sales.jsonl").read_bytes() == week()
    assert names(tmp_path) == ["sales.jsonl"]
    assert (tmp_path / "sales.jsonl").stat().st_mode & 0o777 == 0o666 & ~umask()
    said = done.stderr.decode()
    assert said.count("\n") == 1
    assert "sales.jsonl: 40,163 purchases up to 2026-06-07 15:59:52.266920 (UTC), 12.1 MB in" in said


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("to", [(), ("--to", "stdout")])
def test_standard_output_has_the_rows_alone(tmp_path: Path, to: Sequence[str]) -> None:
    done = run(tmp_path, *to, "--what", "lost_sales", **WEEK)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == week("lost_sales")
    assert names(tmp_path) == []


def test_rows_are_counted_and_the_first_moment_of_a_relative_start_is_told_so_that_it_can_be_made_again(
    tmp_path: Path,
) -> None:
    first = run(tmp_path, "-n", "100", "--to", "a.jsonl")
    opened_at = first.stderr.decode().partition("--opened-at '")[2].partition("'")[0]
    again = run(tmp_path, "-n", "100", "--to", "b.jsonl", "--opened-at", opened_at)
    assert b"--opened-at" not in again.stderr
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 100


def test_a_file_that_exists_is_written_over_by_force_alone(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("mine")
    (tmp_path / "sales.jsonl").symlink_to("real.jsonl")
    refused = run(tmp_path, "--to", "sales.jsonl", **WEEK)
    assert (refused.returncode, refused.stderr) == (1, b"yasdg: sales.jsonl exists. To overwrite it: --force\n")
    assert (tmp_path / "real.jsonl").read_text() == "mine"
    assert run(tmp_path, "--to", "sales.jsonl", "--force", "-n", "5", **WEEK).returncode == 0
    assert (tmp_path / "real.jsonl").read_bytes().splitlines() == week().splitlines()[:5]
    assert (tmp_path / "sales.jsonl").is_symlink()
    assert names(tmp_path) == ["real.jsonl", "sales.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        (("-n", "1", "--to", "nowhere/x.jsonl"), 1, "nowhere/x.jsonl cannot be written: No such file or directory"),
        (
            ("-n", "1", "--to", "folder"),
            1,
            "folder is a folder: expected the name of a file, such as folder/purchases.jsonl",
        ),
        (("--to", "x.jsonl"), 1, "The shop opens now, and the stream has no end. Set one: --until"),
        (("--until", "soon"), 2, "soon: expected now, a date or time such as 2026-01-01 08:30"),
        (("--opened-at", "2026-01-01T00:00Z"), 2, "2026-01-01T00:00Z: expected a time (UTC) such as 2026-01-01 08:30"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    tmp_path: Path, arguments: tuple[str, ...], status: int, error: str
) -> None:
    (tmp_path / "folder").mkdir()
    done = run(tmp_path, *arguments)
    assert done.returncode == status
    assert error in done.stderr.decode().splitlines()[-1]
    assert names(tmp_path) == ["folder"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
@pytest.mark.parametrize("by_name", [True, False])
def test_a_full_disk_is_said_in_a_line(tmp_path: Path, by_name: bool) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *(("--to", "/dev/full") if by_name else ())], cwd=tmp_path, env=clean(WEEK),
            stdout=None if by_name else full, stderr=subprocess.PIPE, timeout=120,
        )  # fmt: skip
    name = "/dev/full" if by_name else "Standard output"
    assert done.returncode == 1
    wanted = f"yasdg: {name} cannot be written after 0 purchases: {os.strerror(errno.ENOSPC)}\n"
    assert done.stderr.decode() == wanted


def test_a_file_that_cannot_be_completed_is_not_left_behind(tmp_path: Path) -> None:
    """As on a full disk: the process may write a megabyte."""
    limited = "import os, resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", limited, *COMMAND, "--to", "sales.jsonl"], cwd=tmp_path, env=clean(WEEK),
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().startswith("yasdg: sales.jsonl cannot be written after")
    assert os.strerror(errno.EFBIG) in done.stderr.decode()
    assert names(tmp_path) == []


def test_a_reader_who_goes_away_ends_it_in_silence(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=clean(ENDLESS), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"transaction_time":"2000-01-01 ')
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_ctrl_c_leaves_complete_lines_and_says_how_far_it_came(tmp_path: Path) -> None:
    part = tmp_path / "sales.jsonl.part"
    with subprocess.Popen(
        [*COMMAND, "--to", "sales.jsonl"], cwd=tmp_path, env=clean(ENDLESS), stderr=subprocess.PIPE
    ) as process:
        until(lambda: part.exists() and part.stat().st_size, process)
        process.send_signal(signal.SIGSTOP)  # or it would fill the disk meanwhile
        beside = run(tmp_path, "--to", "sales.jsonl", **WEEK)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert beside.returncode == 1
    assert b"sales.jsonl.part is being written by another yasdg generate" in beside.stderr
    lines = part.read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])["transaction_time"]
    assert lines[-1].endswith(b"\n")
    assert said == f"yasdg: Interrupted after {len(lines):,} purchases up to {last} (UTC); they are in {part}\n"
    # What it left is no obstacle, and no part of what comes next.
    assert run(tmp_path, "--to", "sales.jsonl", **WEEK).returncode == 0
    assert (tmp_path / "sales.jsonl").read_bytes() == week()
    assert names(tmp_path) == ["sales.jsonl"]


def test_ctrl_c_before_a_pipe_leaves_complete_lines(tmp_path: Path) -> None:
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=clean(ENDLESS), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 130
        assert process.stderr is not None
        said = process.stderr.read()
    assert rest.endswith(b"\n")
    assert said.startswith(b"yasdg: Interrupted after ")


def test_ctrl_c_ends_it_while_it_waits_for_a_reader_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen([*COMMAND, "--to", "pipe"], cwd=tmp_path, env=clean(WEEK)) as process:
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT


def at_a_terminal(folder: Path, *arguments: str, stdout: int | None = None) -> str:
    """What a terminal shows of the standard error."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=clean(WEEK | {"COLUMNS": "80"}), stdout=stdout, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while read := os.read(terminal, 4096):
                shown += read
        except OSError:  # nobody holds the other side any more
            pass
        assert process.wait(60) == 0
    os.close(terminal)
    return shown.decode()


def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    shown = at_a_terminal(tmp_path, "--to", "sales.jsonl")
    assert " rows  " in shown
    assert "/s  2026-06-0" in shown
    assert "100%" in shown
    assert "sales.jsonl: 40,163 purchases" in shown.splitlines()[-1]


def test_a_few_rows_for_a_pipe_show_no_bar(tmp_path: Path) -> None:
    shown = at_a_terminal(tmp_path, "-n", "1", stdout=subprocess.DEVNULL)
    assert shown.startswith("Standard output: 1 purchases up to 2026-06-01 06:00:03.689204 (UTC)")
    assert shown.count("\n") == 1


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("name", ["iso-z", "epoch_ms", "epoch_us"])
def test_times_are_as_they_are_configured(name: str, what: str) -> None:
    plan, form = plan_of(shop("supply-crisis", STARTS["supply-crisis"])), json_format(FormatSettings(time=name))
    until = plan.opened_at + 7 * DAY
    told = b"".join(part.text for part in stream(what, plan, until, form=form)).splitlines()
    assert told == [form.write(what, line) for line in generated(what, plan, until)]


def test_what_was_written_ends_with_its_last_time_whatever_its_format(tmp_path: Path) -> None:
    said = {}
    for name in ("sql", "iso-z", "epoch_ms", "epoch_us"):
        environment = {"YASDG_CONFIG": str(PROJECT / "config/scenarios/week.ini"), "YASDG_FORMAT_TIME": name}
        done = run(tmp_path, "--to", name, "-n", "3", "--opened-at", "2026-06-01 00:00", **environment)
        assert done.returncode == 0, done.stderr
        said[name] = done.stderr.decode().partition(": ")[2].partition(",")[0]
    assert len(set(said.values())) == 1
    assert said["sql"].startswith("3 purchases up to 2026-06-01")


# --- What a flawed network delivers ---

FLAWS = {f"FAULTS_{name}": ".05" for name in ("LATE", "DUPLICATE", "DROPPED", "OUT_OF_ORDER", "CORRUPT")}


@lru_cache
def flawed_shop() -> tuple[Plan, Faults, int, list[SimpleNamespace]]:
    """A shop, and its purchases as they stand in a log."""
    of = shop("week", "2026-06-05 18:00", **FLAWS, FAULTS_LATE_BY="1s - 3h")
    plan = plan_of(of)
    last = plan.opened_at + 20 * HOUR
    log = []
    for line in generated("purchases", plan, last):
        told = json.loads(line)
        key, timestamp = told["product_id"].encode(), event_time(told["transaction_time"]) // 1000
        log.append(SimpleNamespace(key=key, value=line, timestamp=timestamp, headers=[]))
    return plan, Faults.of(of.faults, of.sales.seed), last, log


def test_what_arrives_is_what_the_plain_way_makes_of_all_sales() -> None:
    plan, faults, last, log = flawed_shop()
    dirty, told = flawed(faults, log, last)
    lines = b"".join(part.text for part in stream("dirty", plan, last, faults=faults)).split(b"\n")[:-1]
    assert lines == [row.value for row in dirty]
    assert b"" in lines
    assert generated("faults", plan, last, faults=faults) == [row.value for row in told]
    assert {json.loads(row.value or b"")["kind"] for row in told} == {*FAULTS}
    assert 0 < len(log) - len({id(each) for each in log if each.value in set(lines)}) < len(log) / 5


@pytest.mark.parametrize("partitions", [1, 3])
def test_what_arrives_is_what_workers_append_to_each_partition(partitions: int) -> None:
    plan, faults, last, log = flawed_shop()
    dirty = b"".join(part.text for part in stream("dirty", plan, last, faults=faults)).split(b"\n")[:-1]
    told = generated("faults", plan, last, faults=faults)
    appended: Counter[bytes] = Counter()
    for partition in range(partitions):
        here = [each for each in log if ids.default_partition(each.key.decode(), partitions) == partition]
        network = FaultyChannel(faults)
        network.take(here)
        its_faults, delivered = network.arrived(last + 1)
        values = [row.value or b"" for row in delivered]
        appended.update(values)
        values_of_faults = {row.value for row in its_faults}
        assert [line for line in told if line in values_of_faults] == [row.value for row in its_faults]
        whole = {value for value in values if len(value) > 200 and dirty.count(value) == 1}
        assert [line for line in dirty if line in whole] == [value for value in values if value in whole]
    assert appended == Counter(dirty)


def test_dirty_purchases_end_with_the_shop_and_have_the_times_that_are_configured() -> None:
    plan, faults, last, _ = flawed_shop()
    for what in FAULTY:
        few = list(stream(what, plan, last, faults=faults, number_of_sales=500))
        whole = b"".join(part.text for part in stream(what, plan, last, faults=faults))
        told = b"".join(part.text for part in few)
        assert whole.startswith(told)
        assert told.count(b"\n") > 20
    form = json_format(FormatSettings(time="epoch_us"))
    lines = b"".join(part.text for part in stream("faults", plan, last, faults=faults, form=form)).splitlines()
    assert lines == [form.write("faults", line) for line in generated("faults", plan, last, faults=faults)]


def test_they_are_written_like_all_others_where_there_are_faults(tmp_path: Path) -> None:
    faulty = WEEK | {f"YASDG_{key}": value for key, value in FLAWS.items()}
    for what, name in (("dirty", "dirty purchases"), ("faults", "faults")):
        done = run(tmp_path, "--what", what, "--until", "12h", "--to", what, **faulty)
        assert done.returncode == 0, done.stderr
        rows = (tmp_path / what).read_bytes().count(b"\n")
        assert f"{what}: {rows:,} {name} up to 2026-06-01" in done.stderr.decode()
        refused = run(tmp_path, "--what", what, **WEEK)
        assert refused.stderr == f"yasdg: This shop has no {name}: every share in [FAULTS] is 0\n".encode()
        assert refused.returncode == 1


# --- Odd shops ---


def test_a_message_may_be_of_any_length(tmp_path: Path) -> None:
    header, line = (PROJECT / "products.csv").read_text().splitlines()[:2]
    products = [f"A-product-with-a-long-name-{number:04}" for number in range(300)]
    rows = [",".join([name, *line.split(",")[1:]]) for name in products]
    (tmp_path / "products.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "x.ini").write_text(
        "[CLOCK]\nstart = 2026-06-01\nend = 2026-06-02\n[INCIDENT long]\nkind = storm\nstart = 2026-06-01 08:00\n"
        f"products = {', '.join(products)}\n"
    )
    done = run(tmp_path, "--what", "incidents", "--to", "incidents.jsonl", YASDG_CONFIG=str(tmp_path / "x.ini"))
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "incidents.jsonl").read_bytes().splitlines()[-1]) > 2_000
    assert "2 incidents up to 2026-06-01 09:00:00" in done.stderr.decode()


@pytest.mark.parametrize("arguments", [("-n", "3"), ("--until", "40y"), ("--what", "lost_sales", "--until", "40y")])
def test_sales_that_never_come_are_told_of(tmp_path: Path, arguments: Sequence[str]) -> None:
    rare = {"YASDG_SALES_MIN_SALE_FREQ": "1e300", "YASDG_SALES_MAX_SALE_FREQ": "1e300", "YASDG_CLOCK_START": "30d"}
    done = run(tmp_path, *arguments, **rare)
    assert (done.returncode, done.stdout) == (1, b"")
    said = done.stderr.decode()
    assert "Sales are too rare: less than one can be expected up to 2" in said
    assert said.count("\n") == 1


def test_more_sales_than_come_by_the_end_of_time_are_told_of_with_a_way_out(tmp_path: Path) -> None:
    rare = {"YASDG_SALES_MIN_SALE_FREQ": "1e6", "YASDG_SALES_MAX_SALE_FREQ": "1e6", "YASDG_CLOCK_START": "2026-01-01"}
    done = run(tmp_path, "-n", "1000000", **rare)
    assert done.returncode == 1
    assert "and 1,000,000 are requested" in done.stderr.decode()
    assert "or an end such as --until 365d" in done.stderr.decode()
    done = run(tmp_path, "-n", "1000000", "--until", "365d", **rare)
    assert (done.returncode, done.stderr) == (0, b"")
    assert 5 < done.stdout.count(b"\n") < 100


@pytest.mark.parametrize(("what", "number", "rows", "most"), [
    ("purchases", 1_000_000, 5, 5), ("purchases", 5, 1_000_000, 5), ("purchases", 5, None, 5), ("purchases", 0, 5, 5),
    ("purchases", 0, None, 0), ("stockings", 9, 5, 9), ("stockings", 0, None, 0),
])  # fmt: skip
def test_the_lower_of_two_numbers_of_sales_ends_a_stream(what: str, number: int, rows: int | None, most: int) -> None:
    assert most_sales(Settings(sales=SalesSettings(number_of_sales=number)), what, rows) == most


def test_a_few_of_too_many_sales_can_be_had(tmp_path: Path) -> None:
    rare = {"YASDG_SALES_MIN_SALE_FREQ": "1e6", "YASDG_SALES_MAX_SALE_FREQ": "1e6", "YASDG_CLOCK_START": "2026-01-01"}
    done = run(tmp_path, "-n", "3", YASDG_SALES_NUMBER_OF_SALES="1000000", **rare)
    assert (done.returncode, done.stderr, done.stdout.count(b"\n")) == (0, b"", 3)


@pytest.mark.parametrize("command", [("truth",), ("verify", "a.csv")])
def test_so_they_are_where_the_last_of_them_is_looked_for(tmp_path: Path, command: Sequence[str]) -> None:
    (tmp_path / "a.csv").write_text("window_start,product_id,sales\n")
    rare = {"YASDG_SALES_MIN_SALE_FREQ": "1e300", "YASDG_SALES_MAX_SALE_FREQ": "1e300"}
    rare["YASDG_CLOCK_START"] = "2026-01-01"
    done = subprocess.run(
        [*COMMAND[:-1], *command], cwd=tmp_path, env=clean(rare | {"YASDG_SALES_NUMBER_OF_SALES": "9"}),
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert b"Sales are too rare" in done.stderr
    assert b"Traceback" not in done.stderr
