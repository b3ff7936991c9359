"""Flink, for real, in one JVM: it reads every field of 10,000 purchases, and comes to the truth to the cent."""

import subprocess
from pathlib import Path

import jars
import pytest
from engines import (
    WINDOWS,
    Planted,
    check_fields,
    check_planted_totals,
    check_planted_window,
    check_totals,
    check_window,
    rows,
)
from support import Shop

FLINK = Path(jars.__file__).with_name("flink")

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Flink makes of the golden shop, in flink-output, and of its copy in which a purchase is missing."""
    folder = tmp_path_factory.mktemp("flink")
    script = "".join(
        (FLINK / name).read_text() + "\n" for name in ("tables.sql", "bounded.sql", "views.sql", "files.sql")
    )
    script = script.replace("localhost:9092", golden_shop.servers)
    again = script.replace("demo.", f"{planted.topics}.").replace("flink-output", "planted-output")
    (folder / "whole.sql").write_text(script.replace("demo.", golden_shop.topic("")))
    (folder / "planted.sql").write_text(again)
    command = jars.command(FLINK, "Sql.java", "whole.sql", "CREATE DATABASE planted", "USE planted", "planted.sql")
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return folder


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Path) -> None:
    check_fields(rows(output / "flink-output" / "totals"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, planted: Planted, output: Path, job: str) -> None:
    check_window(golden_shop, output / "flink-output", job)
    check_planted_window(golden_shop, output / "planted-output", job, planted.missing)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, planted: Planted, output: Path) -> None:
    check_totals(golden_shop, output / "flink-output")
    check_planted_totals(golden_shop, output / "planted-output", planted.missing)
