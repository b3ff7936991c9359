"""A process takes as many descriptors as it may have, and knows when none is left."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from yasdg_app.process.descriptors import MOST_ON_MACOS, has_none_left, raise_descriptor_limit

RAISE = """
import resource, sys
from yasdg_app.process.descriptors import descriptor_limit, raise_descriptor_limit
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(raise_descriptor_limit(), descriptor_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(128, 256), (256, 256)])
def test_the_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int) -> None:
    command = [sys.executable, "-c", RAISE, str(soft), str(hard)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(hard)] * 4


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (256, resource.RLIM_INFINITY, MOST_ON_MACOS),
        (256, 2**40, MOST_ON_MACOS),
        (20_000, resource.RLIM_INFINITY, 20_000),
        (256, 512, 512),
    ],
)
def test_where_the_kernel_has_a_limit_of_its_own_that_is_what_is_had(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int
) -> None:
    limits = [(soft, hard)]

    def set_limit(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] == resource.RLIM_INFINITY or wanted[0] > max(soft, MOST_ON_MACOS):
            raise ValueError("current limit exceeds maximum limit")
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert raise_descriptor_limit() == raised
    assert limits[-1] == (raised, hard)


@pytest.mark.parametrize(
    ("error", "none_left"),
    [
        (OSError(errno.EMFILE, ""), True),
        (OSError(errno.ENFILE, ""), True),
        (OSError(errno.ENOSPC, ""), False),
        (ValueError(), False),
    ],
)
def test_no_descriptor_is_told_apart_from_other_errors(error: Exception, none_left: bool) -> None:
    assert has_none_left(error) == none_left


def test_the_units_that_we_deploy_raise_it() -> None:
    deploy = os.path.join(os.path.dirname(__file__), os.pardir, os.pardir)
    with open(os.path.join(deploy, "deploy", "systemd", "yasdg.service")) as unit:
        assert "LimitNOFILE=65536\n" in unit.read()
    with open(os.path.join(deploy, "docker-compose.yml")) as compose:
        assert "nofile: 65536" in compose.read()
