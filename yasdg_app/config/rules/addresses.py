"""Rules for hosts, servers, URLs and tokens."""

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

from yasdg_app.config.rules.base import Rule, require
from yasdg_app.config.rules.numbers import whole

DEFAULT_PORT = 9092  # of Apache Kafka

_HOST = re.compile(r"[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_])?\.?")
_TOKEN = re.compile(r"[a-zA-Z0-9._~-]{16,256}")
_WEB_ADDRESS = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(/[!-~]*)?")
_TABLE = re.compile(r"[a-zA-Z0-9_.-]{3,255}")  # of DynamoDB
_REGION = re.compile(r"[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/?")


def web_address() -> Rule[str]:
    """Return the rule for a web address to which a secret may be sent, or nothing."""
    example = "nothing, or an address such as https://login.example.com/oauth2/token"

    def parse(text: str) -> str:
        require(not text or _WEB_ADDRESS.fullmatch(text))
        secure = not text.startswith("http://") or is_loopback(urlsplit(text).hostname or "")
        require(secure, f"{example}; http:// is for this machine alone, since anybody on the way reads along")
        return text

    return Rule(parse, example)


def _server(text: str) -> str:
    """Return one server as host:port. Raises ValueError."""
    if text.startswith("["):
        address, closed, port = text[1:].partition("]")
        require(closed and port[:1] in ("", ":") and port != ":")
        host, port = f"[{ipaddress.IPv6Address(address)}]", port[1:]
    else:
        host, colon, port = text.partition(":")
        require(_HOST.fullmatch(host) and (port or not colon))
    return f"{host}:{whole(1, 65535).parse(port) if port else DEFAULT_PORT}"


def servers() -> Rule[str]:
    """Return the rule for the brokers of a cluster, or `embedded`."""

    def parse(text: str) -> str:
        if text.lower() == "embedded":
            return "embedded"
        return ",".join(_server(server.strip()) for server in text.split(","))

    return Rule(parse, "embedded, or host:port[,host:port] with ports from 1 to 65535")


def host() -> Rule[str]:
    """Return the rule for a name or address of this machine; brackets around an IPv6 address are removed."""

    def parse(text: str) -> str:
        if ":" in text:
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        require(_HOST.fullmatch(text))
        return text

    return Rule(parse, "an address such as 127.0.0.1 or 0.0.0.0, or the name of this machine")


def datastore() -> Rule[str]:
    """Return the rule for the address of a datastore, kept as written, or nothing."""
    expected = (
        "nothing, sqlite:///path/of/file.db, postgresql://user:password@host:port/database, or "
        "dynamodb://table?region=…&endpoint=…; letters that mean something in an address, such as @ : / ? # in a "
        "password, as %40 and the like"
    )

    def parse(text: str) -> str:
        address = urlsplit(text)
        parts = dict(parse_qsl(address.query, keep_blank_values=True))
        path = address.path.removeprefix("/")
        require(text.isprintable() and not address.fragment)
        match address.scheme:
            case "":
                require(not text)
            case "sqlite":
                require(path and not path.endswith("/") and not address.netloc and not parts)
            case "postgresql":
                require(address.port != 0 and path and "/" not in path)
            case "dynamodb":
                require(_TABLE.fullmatch(address.netloc) and not path and parts.keys() <= {"region", "endpoint"})
                require(_REGION.fullmatch(parts.get("region", "any")))
                require(_ENDPOINT.fullmatch(parts.get("endpoint", "http://any")))
            case _:
                raise ValueError
        return text

    return Rule(parse, expected)


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or `localhost`, which only this machine can reach."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def token() -> Rule[str]:
    """Return the rule for a secret that needs no escaping in a header, a cookie or a URL, or nothing."""

    def parse(text: str) -> str:
        require(not text or _TOKEN.fullmatch(text))
        return text

    return Rule(parse, "nothing, or 16 to 256 letters, digits, dots, underscores, tildes or hyphens")


def address() -> Rule[str]:
    """Return the rule for the address of an HTTP server, with optional user and password, or nothing."""

    def parse(text: str) -> str:
        if text:
            parts = urlsplit(text)
            require(parts.scheme in ("http", "https") and parts.hostname and not (parts.query or parts.fragment))
            require(parts.port != 0 and text.isprintable() and " " not in text)
        return text.rstrip("/")

    return Rule(parse, "nothing, or an address such as http://localhost:8081 or https://user:password@registry")
