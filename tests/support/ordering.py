"""Runs the longest tests first, so that no test process works alone at the end.

    make test-all ARGS=--record-seconds        # rewrites tests/data/seconds.json

Record on an idle machine. A test that the file does not contain counts as short, unless it starts Kafka: then its
duration is unknown. Tests of one xdist_group run one after the other in one process, so the whole group counts.
"""

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

SECONDS = Path(__file__).parents[1] / "data" / "seconds.json"
MIN_RECORDED_SECONDS = 1.0
UNKNOWN_KAFKA_SECONDS = 12


def name_of(node_id: str) -> str:
    """Return a test's name and parameters, without its file, which may move, and the group that xdist appends."""
    name = node_id.partition("::")[2]
    return name[: name.rindex("]") + 1] if "[" in name else name.partition("@")[0]


def recorded_seconds() -> dict[str, int]:
    """Return the tests that took a second or more at the last recording, by name."""
    recorded: dict[str, int] = json.loads(SECONDS.read_text())
    return recorded


def sort_longest_first(items: list[pytest.Item]) -> None:
    """Sort the tests by their duration, or that of their group, at the last recording."""
    known = recorded_seconds()
    total: Counter[str] = Counter()
    for item in items:
        unknown = UNKNOWN_KAFKA_SECONDS if item.get_closest_marker("needs_kafka") else 0
        total[_unit(item)] += known.get(name_of(item.nodeid), unknown)
    items.sort(key=lambda item: -total[_unit(item)])


def _unit(item: pytest.Item) -> str:
    group = item.get_closest_marker("xdist_group")
    return str(group.args[0]) if group else item.nodeid


class SecondsRecorder:
    """Records the duration of each test, including its fixtures."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[name_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        long = {name: round(each) for name, each in sorted(self._seconds.items()) if each >= MIN_RECORDED_SECONDS}
        SECONDS.write_text(json.dumps(long, indent=0, ensure_ascii=False) + "\n")
