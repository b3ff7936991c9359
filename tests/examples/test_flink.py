"""Flink, for real, in one JVM: it reads every field of 10,000 purchases, and comes to the truth to the cent."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import jars
import pytest
from oracles import golden
from oracles.engine_output import (
    WINDOWS,
    Planted,
    check_fields,
    check_planted_totals,
    check_planted_window,
    check_totals,
    check_window,
    loads,
    rows,
)
from support import readme_commands
from support.shop import Shop

FLINK = Path(jars.__file__).with_name("flink")
README_TIMES = [
    (way, re.findall(r"`(.+?)`", column), rowtime)
    for way, column, rowtime in re.findall(
        r"^  \| `([a-z_-]+)`.*? \| (.+?) \| `(.+?)` \|$", (FLINK / "README.md").read_text(), re.MULTILINE
    )
]
"""What [FORMAT] time may be, the column's type with an option of the table, and the event time."""
VALID_FROM = re.findall(r"`valid_from` in `products` has to be `(.+?)`", (FLINK / "README.md").read_text())
ELSEWHERE = "-Duser.timezone=America/New_York"
"""Of a machine that is not in UTC: windows are, all the same."""

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Flink makes of the golden shop, in flink-output, and of its copy in which a purchase is missing."""
    folder = tmp_path_factory.mktemp("flink")
    _, source, *files = readme_commands.bounded(FLINK / "README.md")
    script = "".join((FLINK.parents[1] / name).read_text() + "\n" for name in files)
    script = script.replace("localhost:9092", golden_shop.servers)
    again = script.replace("demo.", f"{planted.topics}.").replace("flink-output", "planted-output")
    (folder / "whole.sql").write_text(script.replace("demo.", golden_shop.topic("")))
    (folder / "planted.sql").write_text(again)
    (folder / "times.sql").write_text(reads_times(folder))
    planted_too = ("CREATE DATABASE planted", "USE planted", "planted.sql")
    java, *command = jars.command(FLINK, source, "whole.sql", *planted_too, "times.sql")
    ran = subprocess.run([java, ELSEWHERE, *command], cwd=folder, capture_output=True, text=True, timeout=240)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[:3000]
    return folder


def reads_times(folder: Path) -> str:
    """SQL that reads the golden file with its times in each way that the README has, by the README's columns.

    A join with products, who have a time for it, is planned only.
    """
    (products,) = re.findall(r"CREATE TABLE products .+?;\n", (FLINK / "tables.sql").read_text(), re.DOTALL)
    (valid_from,) = VALID_FROM
    statements = [
        "CREATE DATABASE times",
        "USE times",
        re.sub(r"(valid_from) AS .+", rf"\1 AS {valid_from},", products).rstrip(";\n"),
        "CREATE TABLE seen (way STRING, transaction_id STRING, moment STRING) "
        "WITH ('connector' = 'filesystem', 'path' = 'times-output', 'format' = 'json')",
        "CREATE TABLE counted (way STRING, window_start TIMESTAMP(3), sales BIGINT) "
        "WITH ('connector' = 'filesystem', 'path' = 'windows-output', 'format' = 'json')",
    ]
    inserts = []
    for way, (column, *option), rowtime in README_TIMES:
        (folder / way).mkdir()
        (folder / way / "part.json").write_bytes(b"\n".join(golden.purchases(way)))
        options = ", ".join(["'connector' = 'filesystem'", f"'path' = '{way}'", "'format' = 'json'", *option])
        statements.append(
            f"CREATE TABLE `{way}` (transaction_id STRING, product_id STRING, transaction_time {column}, "
            f"rowtime AS {rowtime}, WATERMARK FOR rowtime AS rowtime - INTERVAL '1' DAY) WITH ({options})"
        )
        if "LTZ" in rowtime:
            statements.append(
                f"EXPLAIN SELECT * FROM `{way}` AS sales JOIN products FOR SYSTEM_TIME AS OF sales.rowtime "
                "ON sales.product_id = products.product_id"
            )
        at = "DATE_FORMAT(rowtime, 'yyyy-MM-dd HH:mm:ss.SSS')"
        inserts.append(f"INSERT INTO seen SELECT '{way}', transaction_id, {at} FROM `{way}`;")
        inserts.append(
            f"INSERT INTO counted SELECT '{way}', window_start, COUNT(*) FROM "
            f"TABLE(TUMBLE(TABLE `{way}`, DESCRIPTOR(rowtime), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;"
        )
    return ";\n\n".join([*statements, "EXECUTE STATEMENT SET BEGIN " + " ".join(inserts) + " END"])


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Path) -> None:
    check_fields(rows(output / "flink-output" / "totals"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, planted: Planted, output: Path, job: str) -> None:
    check_window(golden_shop, output / "flink-output", job)
    check_planted_window(golden_shop, output / "planted-output", job, planted.missing)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, planted: Planted, output: Path) -> None:
    check_totals(golden_shop, output / "flink-output")
    check_planted_totals(golden_shop, output / "planted-output", planted.missing)


def test_times_are_read_in_every_way_as_the_readme_has_it(output: Path) -> None:
    assert {way for way, _, _ in README_TIMES} == set(golden.TIMES)
    sales = [loads(line) for line in golden.purchases()]
    wanted = {(way, sale["transaction_id"], sale["transaction_time"][:23]) for way in golden.TIMES for sale in sales}
    assert {(row["way"], row["transaction_id"], row["moment"]) for row in rows(output / "times-output")} == wanted


def test_windows_of_times_in_every_way_are_in_utc_wherever_the_machine_is(output: Path) -> None:
    hours = Counter(loads(line)["transaction_time"][:13] for line in golden.purchases())
    wanted = {(way, hour, sales) for way in golden.TIMES for hour, sales in hours.items()}
    found = rows(output / "windows-output")
    assert {(row["way"], row["window_start"][:13], row["sales"]) for row in found} == wanted
