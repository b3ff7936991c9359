"""Beam, for real, with its direct runner: it reads every field of 10,000 purchases, and comes to the truth."""

import subprocess
from pathlib import Path

import jars
import pytest
from engines import WINDOWS, check_fields, check_totals, check_window, rows
from support import Shop

BEAM = Path(jars.__file__).with_name("beam")

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Beam makes of the golden shop."""
    folder = tmp_path_factory.mktemp("beam")
    options = [
        f"--bootstrapServers={golden_shop.servers}",
        f"--topics={golden_shop.name}",
        f"--output={folder / 'output'}",
    ]
    # The direct runner would encode and compare each message at each step.
    quick = ["--enforceImmutability=false", "--enforceEncodability=false"]
    command = jars.command(BEAM, "Sales.java", *options, *quick)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[:3000]
    return folder / "output"


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Path) -> None:
    check_fields(rows(output / "totals"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, output: Path, job: str) -> None:
    check_window(golden_shop, output, job)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, output: Path) -> None:
    check_totals(golden_shop, output)
