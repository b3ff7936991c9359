"""What the READMEs of engines tell one to type can be typed: after one another, with files and options that exist."""

import json
from pathlib import Path

import jars
import pyarrow as pa
import pytest
from pyarrow import parquet
from support import readme_commands
from support.shop import Shop, yasdg

EXAMPLES = Path(jars.__file__).parent
ENGINES = ["flink", "beam", "spark"]


@pytest.mark.parametrize("engine", ENGINES)
def test_one_shop_serves_all_engines(engine: str) -> None:
    shop, *others = readme_commands.commands(EXAMPLES / engine / "README.md")
    assert shop == ["make", "run"]
    assert all(words[0].startswith(".venv/bin/") for words in others)


@pytest.mark.parametrize("engine", ENGINES)
def test_files_that_are_named_are_there(engine: str) -> None:
    for _, *words in readme_commands.commands(EXAMPLES / engine / "README.md"):
        for word in words:
            if word.startswith("examples/"):
                assert (EXAMPLES.parent / word).exists()
            elif word.endswith(".java"):
                assert (EXAMPLES / engine / word).exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_came_out_is_held_against_the_truth_as_it_is_typed(engine: str, tmp_path: Path) -> None:
    (typed,) = (words for words in readme_commands.commands(EXAMPLES / engine / "README.md") if "verify" in words)
    program, command, output, *options = typed
    assert (program, command) == (".venv/bin/yasdg", "verify")
    (tmp_path / output).mkdir(parents=True)
    window = {"window_start": "2026-11-26 13:44:00", "window_end": "2026-11-26 13:45:00", "product_id": "SF01"}
    row = window | {"sales": 0, "units": 0, "revenue": 0}
    if engine == "spark":
        parquet.write_table(pa.Table.from_pylist([row]), tmp_path / output / "part-0.parquet")
    else:
        name = "part-0" if engine == "flink" else "part-0.json"
        (tmp_path / output / name).write_text(json.dumps(row) + "\n")
    shop = Shop(tmp_path, "readme")
    ran = yasdg(shop, command, str(tmp_path / output), *options, "--opened-at", "2026-11-26 13:43:00.000000", "--json")
    assert ran.returncode == 1, ran
    assert json.loads(ran.stdout)["rows"] == 1
