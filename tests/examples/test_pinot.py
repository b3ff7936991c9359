"""The example for Pinot, held against Pinot's own rules, and what Pinot's own classes make of messages.

A Pinot that could run it cannot be had here.
"""

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import jars
import pytest
from oracles import golden
from oracles.engine_output import loads

from yasdg_app.messages.times import event_time

FOLDER = Path(jars.__file__).with_name("pinot")
FLAGS = ("is_member", "add_supplements")
SAMPLE = json.loads(Path(__file__).parents[2].joinpath("sample_data.json").read_bytes())

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.timeout(600)]  # the jars are fetched once


def check(folder: Path, table: str, messages: list[bytes]) -> "subprocess.CompletedProcess[bytes]":
    """What Pinot says of a table, and what it makes of messages."""
    command = jars.command(FOLDER, "Check.java", str(folder), table)
    return subprocess.run(command, input=b"\n".join(messages), capture_output=True, timeout=240)


def rows(checked: "subprocess.CompletedProcess[bytes]") -> list[dict[str, Any]]:
    assert checked.returncode == 0, checked.stderr.decode()
    return [loads(line) for line in checked.stdout.splitlines()]


def test_every_field_of_the_golden_file_becomes_a_row_without_a_loss() -> None:
    checked = check(FOLDER, "purchases", golden.purchases())
    found = rows(checked)
    wanted = [loads(line) for line in golden.purchases()]
    assert len(found) == golden.COUNT
    for row, purchase in zip(found, wanted, strict=True):
        assert row.pop("sold_at") == event_time(purchase["transaction_time"]) // 1000
        # Pinot keeps flags as numbers; Check.java shows amounts as text, as they are.
        amounts = {name: str(value) for name, value in purchase.items() if isinstance(value, Decimal)}
        assert row == purchase | amounts | {name: int(purchase[name]) for name in FLAGS}
    assert b"purchases_REALTIME reads demo.purchases from the smallest offset" in checked.stderr


@pytest.mark.parametrize(("table", "time", "source"), [
    ("products", "__metadata$recordTimestamp", None), ("stockings", "stocked_at", "event_time"),
])  # fmt: skip
def test_products_and_restocks_become_rows(table: str, time: str, source: str | None) -> None:
    messages = SAMPLE[f"demo.{table}"]
    assert messages
    checked = check(FOLDER, table, [json.dumps(message).encode() for message in messages])
    for row, message in zip(rows(checked), messages, strict=True):
        at = row.pop(time)
        assert at == (event_time(message[source]) // 1000 if source else 1_780_272_105_131)
        assert {name: type(message[name])(value) for name, value in row.items()} == message
    assert f"reads demo.{table} from the smallest offset".encode() in checked.stderr


@pytest.mark.parametrize(("file", "right", "wrong", "says"), [
    ("schema", '"primaryKeyColumns": ["transaction_id"]', '"primaryKeyColumns": []', "primary key"),
    ("table", "fromDateTime(transaction_time", "fromDateTime(sold_at", "sold_at"),
    ("table", '"dedupConfig"', '"deduplicationConfig"', "deduplicationConfig"),
])  # fmt: skip
def test_what_pinot_would_refuse_is_noticed(tmp_path: Path, file: str, right: str, wrong: str, says: str) -> None:
    for name in ("purchases_schema.json", "purchases_table.json"):
        shutil.copy(FOLDER / name, tmp_path)
    path = tmp_path / f"purchases_{file}.json"
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    checked = check(tmp_path, "purchases", golden.purchases()[:1])
    assert (checked.returncode, checked.stdout) == (1, b"")
    assert says in checked.stderr.decode()
