"""Spark, for real, on two cores: it reads every field of 10,000 purchases, and comes to the truth to the cent."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import run_spark
from oracles import golden
from oracles.engine_output import WINDOWS, Planted, loads, totals, truth
from pyarrow import parquet
from support import readme_commands
from support.shop import Shop, yasdg

JOB = Path(run_spark.__file__).parent / "spark" / "job.py"
LATE = {"minutes": timedelta(minutes=1), "categories": timedelta(minutes=1), "restocking": timedelta(days=1)}
LENGTH = {"1m": timedelta(minutes=1), "1d": timedelta(days=1)}

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # PySpark is installed once


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def topics(shop: Shop, prefix: str) -> Sequence[str]:
    return ["--bootstrap-servers", shop.servers, "--prefix", prefix]


class Output(NamedTuple):
    """What Spark made of the golden file, and of the golden shop up to now; and what the job said."""

    read: Path
    shop: Path
    said: str


@pytest.fixture(scope="module")
def output(golden_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Output:
    folder = tmp_path_factory.mktemp("spark")
    (folder / "golden.jsonl").write_bytes(b"\n".join(golden.purchases()))
    found = Output(folder / "read", folder / "spark-output", "")
    _, *arguments = readme_commands.bounded(JOB.with_name("README.md"))
    late = batches_in_which_a_sale_is_late(folder / "batches")
    program = [
        run_spark.python(),
        Path(__file__).with_name("in_spark.py"),
        folder / "golden.jsonl",
        found.read,
        late,
    ]
    ran = subprocess.run(
        [*program, *topics(golden_shop, golden_shop.name), *arguments],
        cwd=folder,  # Spark leaves a folder there
        env=run_spark.environment() | {"PYTHONPATH": str(JOB.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return found._replace(said=ran.stdout)


def batches_in_which_a_sale_is_late(folder: Path) -> Path:
    """Files of a sale each, of which the fourth is late: Spark goes by the watermark of the batch before."""
    folder.mkdir()
    sales = golden.purchases()
    for number, sale in enumerate((sales[0], sales[4000], sales[5000], sales[1000], sales[6000], sales[7000])):
        file = folder / f"{number}.json"
        file.write_bytes(sale)
        os.utime(file, (number, number))  # Spark reads the oldest first
    return folder


def test_what_comes_too_late_is_counted_in_all_batches(output: Output) -> None:
    assert "1 late of 6" in output.said.splitlines()


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Output) -> None:
    wanted = [loads(line) for line in golden.purchases()]
    for each in wanted:
        each["transaction_time"] = datetime.fromisoformat(each["transaction_time"]).replace(tzinfo=UTC)
    read = parquet.read_table(output.read)
    amounts = {name for name, value in wanted[0].items() if isinstance(value, Decimal)}
    assert {field.name for field in read.schema if pa.types.is_decimal(field.type)} == amounts
    assert sorted(read.to_pylist(), key=by_id) == sorted(wanted, key=by_id)


def by_id(purchase: dict[str, Any]) -> str:
    return str(purchase["transaction_id"])


@pytest.fixture(scope="module")
def ends(golden_shop: Shop) -> dict[str, str]:
    """Up to when windows are final, by job: the latest sale less how late another may be, down to a whole window."""
    times = [loads(line)["transaction_time"] for line in golden.purchases()]
    latest = max(map(datetime.fromisoformat, times))
    return {job: text_of(latest - LATE[job], LENGTH[length]) for job, length in WINDOWS.items()}


def text_of(moment: datetime, window: timedelta) -> str:
    return f"{moment - (moment - datetime(1970, 1, 1)) % window:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(
    golden_shop: Shop, output: Output, ends: dict[str, str], job: str
) -> None:
    assert f"{job}: windows are final up to {ends[job]} (UTC); 0 messages came too late for theirs" in output.said
    verified = verify(golden_shop, output.shop / job, WINDOWS[job], ends[job])
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "No differences found."), verified
    rows = rows_of(output.shop / job)
    assert max(text_of(row["window_start"].replace(tzinfo=None), timedelta(minutes=1)) for row in rows) < ends[job]
    if job == "restocking":
        assert all(
            row["restock_rate"]
            == (Decimal(row["restocked_units"]) / row["units"]).quantize(Decimal("0.0001"), ROUND_HALF_UP)
            for row in rows
            if row["units"]
        )
        assert any(row["restocks"] for row in rows)


def verify(shop: Shop, path: Path, window: str, end: str, *more: str) -> "subprocess.CompletedProcess[str]":
    return yasdg(shop, "verify", str(path), "--window", window, "--to", end, *more)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, output: Output) -> None:
    wanted = truth(golden_shop)
    assert {row["product_id"]: totals(row) for row in rows_of(output.shop / "totals")} == wanted
    assert sum(sales for sales, _, _ in wanted.values()) == golden.COUNT


def test_a_purchase_that_is_missing_is_noticed_in_what_runs_live_until_it_is_interrupted(
    golden_shop: Shop, planted: Planted, output: Output, ends: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "job.log"
    with log.open("wb") as out:
        command = [str(run_spark.python()), str(JOB), *topics(golden_shop, planted.topics), "--to", str(tmp_path)]
        job = subprocess.Popen(
            command, cwd=tmp_path, env=run_spark.environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        wanted = len(rows_of(output.shop / "minutes"))  # one less if the sale had its minute to itself
        deadline = time.monotonic() + 240
        while written(tmp_path / "minutes") < wanted - 1:
            assert job.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        job.send_signal(signal.SIGINT)
        assert (job.wait(60), "Exception" in log.read_text()) == (0, False), log.read_text()
    finally:
        job.kill()
        job.wait()
    verified = verify(golden_shop, tmp_path / "minutes", WINDOWS["minutes"], ends["minutes"], "--json")
    (finding,) = json.loads(verified.stdout)["findings"]
    assert (verified.returncode, finding["product_id"]) == (1, planted.missing["product_id"])
    assert finding["window_start"][:16] == planted.missing["transaction_time"][:16]


def written(path: Path) -> int:
    """Rows that are there; a part that is being written has none yet."""
    rows = 0
    for part in path.glob("*.parquet"):
        with suppress(pa.ArrowInvalid):
            rows += parquet.read_metadata(part).num_rows
    return rows
