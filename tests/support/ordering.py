"""The longest tests first, so that no process of the tests works alone at the end.

    make test-all ARGS=--record-seconds        # writes tests/data/seconds.json anew

What that file does not name is taken for short. Tests of one xdist_group run one after the other in one process, so the
whole group counts.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

SECONDS = Path(__file__).parents[1] / "data" / "seconds.json"
MIN_RECORDED_SECONDS = 2.0


def id_of(node_id: str) -> str:
    """The name of a test without the group that pytest-xdist appends to it."""
    return node_id.partition("@")[0] if "[" not in node_id else node_id[: node_id.rindex("]") + 1]


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests by the seconds that they, or the groups that they belong to, took when that was last recorded."""
    recorded: dict[str, float] = json.loads(SECONDS.read_text())
    total: Counter[str] = Counter()
    for item in items:
        total[_unit(item)] += recorded.get(id_of(item.nodeid), 0)  # type: ignore[assignment]
    items.sort(key=lambda item: -total[_unit(item)])


def _unit(item: pytest.Item) -> str:
    group = item.get_closest_marker("xdist_group")
    return str((group.args or group.kwargs["name"])[0]) if group else id_of(item.nodeid)


class SecondsRecorder:
    """Writes down how long each test took, its fixtures included."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[id_of(report.nodeid)] += report.duration  # type: ignore[assignment]

    def pytest_sessionfinish(self) -> None:
        self._write(self._seconds.items())

    def _write(self, seconds: Iterable[tuple[str, float]]) -> None:
        long = {name: round(each) for name, each in sorted(seconds) if each >= MIN_RECORDED_SECONDS}
        SECONDS.write_text(json.dumps(long, indent=0, ensure_ascii=False) + "\n")
