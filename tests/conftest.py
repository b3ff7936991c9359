"""Rules for all tests: how many run at once, and that none is skipped unseen where CI is set."""

import os

import hypothesis
import pytest
from support.kafka_fixtures import kafka, registry, shop

__all__ = ["kafka", "registry", "shop"]  # fixtures, for those tests that ask for them

# No test fails because the machine is slow; and where CI is set, none by the dice: its examples are the same each time.
hypothesis.settings.register_profile(
    "ours", deadline=None, derandomize=os.environ.get("CI", "") not in ("", "0", "false")
)
hypothesis.settings.load_profile("ours")

MOST_PROCESSES = 4
"""Each process of the tests may start an Apache Kafka of its own, so more cores do not mean more of them."""


def pytest_xdist_auto_num_workers() -> int:
    return min((os.cpu_count() or 1) + 1, MOST_PROCESSES)  # much of a test is waiting for a cluster


def pytest_configure(config: pytest.Config) -> None:
    ours_is_the_report = not hasattr(config, "workerinput")
    if ours_is_the_report and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        config.pluginmanager.register(NoSkips())


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
