"""What engines have written is read to its end, or it is said why not."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from yasdg_app.truth.engine_files import FileError, Source
from yasdg_app.truth.engine_values import NULL, UNREADABLE, numbers, texts


def test_an_integer_that_is_too_large_is_not_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 9223372036854775808}\n{"n": 2}\n')
    (batch,) = Source(path, None).batches(["n"])
    assert numbers(batch.columns["n"]).tolist() == [UNREADABLE, 20_000]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_column_that_a_part_does_not_have_is_null_in_it(tmp_path: Path, kind: str) -> None:
    for name, table in {"1": {"id": ["A"], "n": [1]}, "2": {"id": ["B"]}}.items():
        path = tmp_path / f"part-{name}.{kind}"
        if kind == "parquet":
            parquet.write_table(pa.table(table), path)
        elif kind == "csv":
            path.write_text("id,n\nA,1\n" if len(table) > 1 else "\nid\nB\n")
        else:
            path.write_text(json.dumps({key: value[0] for key, value in table.items()}))
    source = Source(tmp_path, None)
    assert source.columns() == ["id", "n"]
    read = [*source.batches(["id", "n"])]
    assert [texts(batch.columns["id"]) for batch in read] == [["A"], ["B"]]
    assert [numbers(batch.columns["n"]).tolist() for batch in read] == [[10_000], [NULL]]


def test_a_part_without_names_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text("id,n\nA,1\n")
    (tmp_path / "part-2.csv").write_text("")  # as engines leave them
    assert sum(batch.rows for batch in Source(tmp_path, None).batches(["id", "n"])) == 1
    (tmp_path / "part-3.csv").write_text("B,1\n")
    with pytest.raises(FileError, match=r"part-3\.csv: its first line has none of the columns id, n"):
        [*Source(tmp_path, None).batches(["id", "n"])]


def test_a_byte_that_is_no_text_spoils_its_value_alone(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,n,note\nA\xff,1,\nB,\xfe,\nC,3,\xfd\n,4,\nD,5\nE,null,\n")
    read = [*Source(tmp_path / "a.csv", None).batches(["id", "n"])]
    assert [text for batch in read for text in texts(batch.columns["id"])] == ["A\ufffd", "B", "C", "", "E"]
    values = [value for batch in read for value in numbers(batch.columns["n"]).tolist()]
    assert values == [10_000, UNREADABLE, 30_000, 40_000, NULL]
    assert [where for batch in read for where in batch.unreadable] == ["line 6: 'D,5'"]
