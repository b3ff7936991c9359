"""Beam, for real, with its direct runner: it reads every field of 10,000 purchases, and comes to the truth."""

import subprocess
from pathlib import Path

import jars
import pytest
from engines import WINDOWS, Output, Planted, check_fields, check_totals, check_window, rows
from support import Shop

BEAM = Path(jars.__file__).with_name("beam")

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """What Beam makes of both."""
    folder = tmp_path_factory.mktemp("beam")
    for topics in (golden_shop.name, planted.topics):
        options = [f"--bootstrapServers={golden_shop.servers}", f"--topics={topics}", f"--output={folder / topics}"]
        command = jars.command(BEAM, "Sales.java", *options)
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
        assert (ran.returncode, ran.stderr) == (0, ""), ran
    return Output(folder / golden_shop.name, folder / planted.topics)


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Output) -> None:
    check_fields(rows(output.whole / "totals"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, output: Output, job: str) -> None:
    check_window(golden_shop, output, job)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, output: Output, planted: Planted) -> None:
    check_totals(golden_shop, output, planted)
