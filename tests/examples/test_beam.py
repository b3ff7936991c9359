"""Beam, for real, with its direct runner: it reads every field of 10,000 purchases, and comes to the truth."""

import os
import subprocess
from pathlib import Path

import jars
import pytest
from oracles.engine_output import WINDOWS, check_fields, check_totals, check_window, rows
from support import readme_commands
from support.shop import Shop

BEAM = Path(jars.__file__).with_name("beam")
EVENT_TIMES = Path(__file__).with_name("EventTimes.java")

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(900)]  # the jars are fetched once


@pytest.fixture(scope="module")
def output(golden_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Beam makes of the golden shop."""
    folder = tmp_path_factory.mktemp("beam")
    _, source, *options = readme_commands.bounded(BEAM / "README.md")
    options += [f"--bootstrapServers={golden_shop.servers}", f"--topics={golden_shop.name}"]
    # The direct runner would encode and compare each message at each step.
    quick = ["--enforceImmutability=false", "--enforceEncodability=false"]
    command = jars.command(BEAM, source, *options, *quick)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr[:3000]
    return folder / "beam-output"


def test_every_field_of_the_golden_file_is_read_without_a_loss(output: Path) -> None:
    check_fields(rows(output / "totals"))


@pytest.mark.parametrize("job", WINDOWS)
def test_a_job_comes_to_the_truth_to_the_cent(golden_shop: Shop, output: Path, job: str) -> None:
    check_window(golden_shop, output, job)


def test_running_totals_come_to_the_truth_to_the_cent(golden_shop: Shop, output: Path) -> None:
    check_totals(golden_shop, output)


@pytest.fixture(scope="module")
def event_times(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that says a partition's watermark (see EventTimes.java)."""
    folder = tmp_path_factory.mktemp("classes")
    java, *options, path, _ = jars.command(BEAM, "Sales.java")
    javac = Path(java).resolve().with_name("javac")
    subprocess.run([javac, "-proc:none", "-cp", path, "-d", folder, EVENT_TIMES], check=True, timeout=120)
    return [java, *options, f"{path}{os.pathsep}{folder}", EVENT_TIMES.stem]


@pytest.mark.parametrize(
    ("happens", "watermarks"),
    [
        pytest.param(["message 1000", "more 1001", "message 1010"], [940, 940, 950], id="a minute behind a message"),
        pytest.param(["message 1000", "nothing 1020", "nothing 1040"], [940, 960, 980], id="with the clock at night"),
        pytest.param(["message 1000", "nothing 1020", "more 1040"], [940, 960, 960], id="not past what is unread"),
        pytest.param(["message 1000", "nothing 9000", "message 1060"], [940, 940, 1000], id="no jump out of a past"),
        pytest.param(["message 1000", "nothing 1020", "again", "nothing 1040"], [940, 960, 960, 980], id="on anew"),
    ],
)
def test_the_watermark_of_what_is_sold_now_leaves_no_sale_behind(
    event_times: list[str], happens: list[str], watermarks: list[int]
) -> None:
    ran = subprocess.run([*event_times, *happens], capture_output=True, text=True, timeout=120)
    assert list(map(int, ran.stdout.split())) == watermarks, ran
