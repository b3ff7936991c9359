"""Flink, for real, in one JVM: it reads every field of 10,000 purchases, and comes to the truth to the cent."""

import subprocess
from pathlib import Path

import jars
import pytest
from engines import WINDOWS, Output, Planted, check_fields, check_running, check_window, rows
from support import Shop

FLINK = Path(jars.__file__).with_name("flink")

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What Flink makes of both. It is started once, since that takes longer than the jobs."""
    folder = tmp_path_factory.mktemp("flink")
    tables = (FLINK / "tables.sql").read_text().replace("localhost:9092", golden_shop.servers)
    check = (FLINK / "check.sql").read_text()
    (folder / "tables.sql").write_text(tables.replace("demo.", golden_shop.topic("")))
    (folder / "check.sql").write_text(check)
    (folder / "again.sql").write_text(check.replace("_file", "_again").replace("flink-output", "planted-output"))
    names = ("purchases", "products", "stockings")
    others = [f"ALTER TABLE {what} SET ('topic' = '{planted.topics}.{what}')" for what in names]
    command = jars.command(FLINK, "Sql.java", "tables.sql", "check.sql", *others, "again.sql")
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return Output(folder / "flink-output", folder / "planted-output")


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Output) -> None:
    check_fields(rows(output.whole / "running"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, output: Output, job: str) -> None:
    check_window(golden_shop, output, job)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, output: Output, planted: Planted) -> None:
    check_running(golden_shop, output, planted)
