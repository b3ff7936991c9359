"""The addresses and ports on which this machine can listen. Independent of the servers that listen there."""

import errno
import socket

import psutil

from yasdg_app.errors import YasdgError
from yasdg_app.process.crashes import one_line
from yasdg_app.text import printable

NO_SUCH_ADDRESS = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""System errors that mean: this machine has no such address, for example ::1 when IPv6 is off."""
WILDCARDS = ("0.0.0.0", "::")
"""Addresses that mean all addresses of a machine."""


class PortTakenError(YasdgError):
    """The web server cannot listen on its port."""


def check_port(host: str, port: int) -> None:
    """Check that the web server can listen on its port, before anything else starts. Raises PortTakenError."""
    advice = "Expected a free one: yasdg worker --web-port PORT, [WEB] port or YASDG_WEB_PORT"
    try:
        addresses_of(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"Port {port} of {host} is taken by {_listener(port)}. {advice}.") from error
        raise PortTakenError(
            f"The web server cannot listen on port {port} of {host}: {one_line(error)}. {advice}."
        ) from error


def _listener(port: int) -> str:
    """Return the process that listens on a port, as far as it can be determined."""
    try:
        pids = {
            each.pid
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
        }
        process = psutil.Process(min(pids))
        is_worker = any("yasdg" in part for part in process.cmdline())
        return f"process {process.pid} ({'a worker of yasdg' if is_worker else printable(process.name())})"
    except (psutil.Error, OSError, ValueError):  # of another user, or already ended
        return "another process"


def advertised_host(host: str) -> str:
    """Return the host under which other machines reach a server that listens on `host`, in the notation of a URL."""
    if host in WILDCARDS:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses to listen on for a host: the host itself, or those of its addresses that this machine has.

    Raises OSError if it has none of them, or if the port is taken at one of them.
    """
    found, missing = dict[str, None](), list[OSError]()
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        try:
            _try_to_bind(family, kind, protocol, address)
        except OSError as error:
            if error.errno not in NO_SUCH_ADDRESS:
                raise
            missing.append(error)
        else:
            found[str(address[0])] = None
    if missing and not found:
        raise missing[0]
    return list(found) if missing else [host]


def _try_to_bind(family: int, kind: int, protocol: int, address: tuple[int, bytes] | tuple[str | int, ...]) -> None:
    """Bind a socket to an address, and close it. Raises OSError."""
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
