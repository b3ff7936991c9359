"""A port is taken, or a machine has no such address: these are told apart, and the latter may be one of several."""

import errno
import socket
from typing import Any

import pytest

from yasdg_app.process.ports import PortTakenError, addresses_of, check_port

HERE, NOT_HERE, NO_FAMILY = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "192.0.2.1"), (9_999, "::1")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def resolve(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, str]) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("missing", [NOT_HERE, NO_FAMILY])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_address_that_the_machine_has_not_is_left_out(
    monkeypatch: pytest.MonkeyPatch, port: int, missing: tuple[int, str], is_first: bool
) -> None:
    resolve(monkeypatch, *([missing, HERE] if is_first else [HERE, missing]))
    assert addresses_of("localhost", port) == ["127.0.0.1"]
    check_port("localhost", port)


def test_a_name_whose_addresses_are_all_there_stays_one(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    resolve(monkeypatch, HERE)
    assert addresses_of("localhost", port) == ["localhost"]


@pytest.mark.parametrize("missing", [(NOT_HERE,), (NO_FAMILY, NOT_HERE)])
def test_where_there_is_none_the_first_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, port: int, missing: tuple[tuple[int, str], ...]
) -> None:
    resolve(monkeypatch, *missing)
    with pytest.raises(OSError, match=r".") as refused:
        addresses_of("shop", port)
    assert refused.value.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    with pytest.raises(PortTakenError, match=f"The web server cannot listen on port {port} of shop: "):
        check_port("shop", port)


def test_a_port_that_is_taken_at_one_address_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        resolve(monkeypatch, NOT_HERE, HERE, (socket.AF_INET, "127.0.0.2"))
        with pytest.raises(PortTakenError, match="is taken by process"):
            check_port("localhost", taken.getsockname()[1])
