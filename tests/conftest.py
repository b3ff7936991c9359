"""Rules for all tests: how many run at once, and that none is skipped unseen where CI is set."""

import os

import pytest
from support.interrupts import let_children_be_interrupted
from support.kafka_fixtures import kafka, registry, shop
from support.ordering import SecondsRecorder, sort_longest_first
from support.properties import register_profiles
from support.suites import mark_tests

__all__ = ["kafka", "registry", "shop"]  # fixtures, for those tests that ask for them

register_profiles()

MAX_PROCESSES = 8
"""More would be too much for the one Apache Kafka that they share."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    cores = os.cpu_count() or 1
    if config.option.numprocesses == "logical":  # of tests that compute, and wait for nothing
        return min(cores, MAX_PROCESSES)
    return min(cores + 2, MAX_PROCESSES)  # much of a test is waiting for a cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-seconds", action="store_true", help="record how long tests take, see support/ordering.py"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mark_tests(items)
    if hasattr(config, "workerinput"):
        sort_longest_first(items)


def pytest_configure(config: pytest.Config) -> None:
    let_children_be_interrupted()
    if hasattr(config, "workerinput"):
        return  # the process that reports has all results
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        config.pluginmanager.register(NoSkips())
    if config.getoption("--record-seconds"):
        config.pluginmanager.register(SecondsRecorder())


class NoSkips:
    """Makes a session fail in which a test was skipped. An expected failure (xfail) is no skip."""

    def __init__(self) -> None:
        self.skipped: dict[str, None] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.skipped[report.nodeid] = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.skipped[report.nodeid] = None

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.skipped and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.skipped:
            names = ", ".join(self.skipped)
            terminalreporter.write_line(f"CI is set, so skipped tests fail the session: {names}", red=True)
