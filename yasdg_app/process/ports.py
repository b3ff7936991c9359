"""Where this machine can listen. Knows nothing of who listens there."""

import errno
import socket

ELSEWHERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""Errors of the system that say: this machine has no such address, as ::1 where IPv6 is off."""


def addresses_of(host: str, port: int) -> list[str]:
    """Return where to listen on a port of a host: the host itself, or those of its addresses that this machine has.

    Raises OSError if it has none of them, or if the port cannot be had at one.
    """
    found, missing = dict[str, None](), list[OSError]()
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            _try(family, kind, protocol, address)
        except OSError as error:
            if error.errno not in ELSEWHERE:
                raise
            missing.append(error)
        else:
            found[str(address[0])] = None
    if missing and not found:
        raise missing[0]
    return list(found) if missing else [host]


def _try(family: int, kind: int, protocol: int, address: tuple[int, bytes] | tuple[str | int, ...]) -> None:
    """Have an address, and leave it. Raises OSError."""
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
