"""What each test needs: the markers by which `make quick`, `make test` and `make test-all` select are set only here.

    make quick       no Kafka, and nothing that takes a second or more: what the package computes, in less than a minute
    make test        Apache Kafka, which the package fetches itself: the shop, deaths, scenarios; Python and network
    make test-all    everything: also browser, databases, engines, containers, and more examples of each property

A test is marked by the fixtures that it requests, by its parameters, and by its folder, so no marker can be forgotten.
`make test` runs the main job, deaths and scenarios. Only `make test-all` runs the rest of what starts Apache Kafka: the
files in EXTENDED, and variants, which are all sets of parameters of a test but the first and the last.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.ordering import name_of, recorded_seconds

TESTS = Path(__file__).parents[1]

FIXTURES = {
    "kafka": "needs_kafka",
    "shop": "needs_kafka",
    "registry": "needs_kafka",
    "page": "needs_chromium",
    "jdk": "needs_jdk",
    "go": "needs_go",
    "compose": "needs_go",
    "containers": "needs_root",
    "image": "needs_root",
    "network": "needs_root",
    "systemd": "needs_systemd",
}
"""Fixtures, and what a test that requests them needs."""

SERVERS = {"postgresql": "needs_postgresql", "dynamodb": "needs_npm"}
"""Databases that are not part of Python. Tests of one of them are a group; others name it in a parameter."""

FOLDERS = {"integration": "needs_kafka", "examples": "needs_jdk"}

EXTENDED = {
    "test_audit.py",
    "test_authentication.py",
    "test_clocks.py",
    "test_connections.py",
    "test_datastore.py",
    "test_embedded_broker.py",
    "test_fast_ways.py",
    "test_faults.py",
    "test_foreign_control_records.py",
    "test_formats.py",
    "test_generate.py",
    "test_health.py",
    "test_incidents.py",
    "test_java_of_the_machine.py",
    "test_odd_requests.py",
    "test_own_catalog.py",
    "test_strangers.py",
    "test_topics.py",
    "test_truth.py",
    "test_views.py",
    "test_windows.py",
}
"""Files of tests/integration that `make test` leaves out, so that it takes at most eight minutes on two cores."""

EVERYWHERE = {"needs_kafka"}
"""What the project provides itself, wherever Python and the network are available."""


def mark_tests(items: list[pytest.Item]) -> None:
    """Mark the tests by what they need, by how long they take, and by whether they are about the main job."""
    slow = recorded_seconds()
    sets: defaultdict[tuple[Path, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        needs = set(_needs(item))
        for name in needs:
            item.add_marker(name)
        if needs - EVERYWHERE:
            item.add_marker("needs_machine")
        if item.path.parent.name == "integration" and item.path.name in EXTENDED:
            item.add_marker("extended")
        if name_of(item.nodeid) in slow:
            item.add_marker("slow")
        if "needs_kafka" in needs:
            sets[item.path, getattr(item, "originalname", item.name)].append(item)
    for _, *between, _ in (each for each in sets.values() if len(each) > 1):
        for item in between:
            item.add_marker("variant")


def _needs(item: pytest.Item) -> Iterator[str]:
    parameters = _parameters(item)
    fixtures = [name for name in getattr(item, "fixturenames", ()) if name not in parameters or name == "server"]
    yield from (FIXTURES[name] for name in fixtures if name in FIXTURES)
    folder = item.path.relative_to(TESTS).parts[0]
    if folder in FOLDERS:
        yield FOLDERS[folder]
    if "server" in fixtures and (server := _server(item)) in SERVERS:
        yield SERVERS[server]


def _server(item: pytest.Item) -> str:
    if "server" in (parameters := _parameters(item)):
        return str(parameters["server"])
    group = item.get_closest_marker("xdist_group")
    return str(group.args[0]) if group else "postgresql"


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    parameters: Mapping[str, object] = getattr(getattr(item, "callspec", None), "params", {})
    return parameters
