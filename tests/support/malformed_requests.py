"""Malformed requests, handwritten and random. As bytes, because most of them are not valid HTTP."""

import random
import zlib
from collections.abc import Iterator
from urllib.parse import quote

LONG = "9" * 5_000
NUMBERS = [
    "0",
    "1",
    "-1",
    "3",
    "10000",
    "10001",
    "1e3",
    "NaN",
    "0x10",
    "\u0663",
    LONG,
    "",
    " ",
    "1_0",
    str(2**63),
    str(-(2**65)),
]
KEYS = [
    "CS01",
    "SF03",
    "",
    "XX",
    "Superfoods Smoothies",
    "%00",
    "%ff",
    "%ed%a0%80",
    "%0d%0aX-Forged:%201",
    "..",
    "%2e%2e%2f",
    "%",
    "'\"<>",
]
TIMES = [
    *("0001-01-01T00:00", "0001-01-01 23:59", "1969-12-31T23:59", "1970-01-01T00:00", "1970-01-01T00:01"),
    *("2026-11-26T13:45", "2199-12-31T23:59", "2200-01-01T00:00", "9999-12-31T23:59", "0000-00-00T00:00"),
    *(
        "2026-02-30T00:00",
        "2026-11-26T13:45:30",
        "now",
        "",
        LONG,
        "%00",
        "%ff",
        "2026-11-26T13:45Z",
        "-001-01-01T00:00",
    ),
]
MICROSECONDS = [
    "0",
    "60000000",
    "1",
    "-60000000",
    str(253402300740 * 10**6),
    str(2**63),
    str(2**64),
    LONG,
    "x",
    "7258118400000000",
]
PATHS = [
    *("/", "/health/", "/ready/", "/metrics", "/openapi.json", "/products/", "/inventory/", "/sales/", "/workers/"),
    *("/incidents/", "/events/", "/share/", "/page/page.js", "/page/..%2fviews.py", "/inventory/CS01/", "/nothing"),
    *("/incidents/x/", "/inventory//", "//", "/%00", "/%ff", "/%ed%a0%80", "/inventory/%0d%0a/", "/incidents/%ff%fe/"),
    *("*", "http://localhost/health/", "http://evil.example/", "localhost:80", "/health/#x", "/health/?", "/?token=x"),
    *("/" + "a" * 7_000, "/" + "%41" * 2_000, "/health/;a=b", "/HEALTH/", "/health", "\\", "/\u00e9", "/ health/", ""),
    *("http://[::1/", "http://:99999/", "http://a:b@c:d/", "//evil.example/x", "/incidents/a%2fb/", "/share/?what=%00"),
]
METHODS = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "SEARCH",
    "PRI",
    "get",
    "FOO",
    "G\x00T",
    "",
    "GET" * 300,
]
INCIDENTS = [
    *(
        b"",
        b"{}",
        b"[]",
        b"null",
        b"true",
        b"1",
        b'"x"',
        b"NaN",
        b"Infinity",
        b"{",
        b"\xff\xfe",
        b"\x00",
        b"[" * 60_000,
    ),
    b'{"a":' * 10_000,
    b'{"a":' * 1_000 + b"1" + b"}" * 1_000,
    b"[" * 1_020 + b"]" * 1_020,
    b'{"name": "deep", "kind": ' + b"[" * 500 + b"]" * 500 + b"}",
    b'{"name": "\\ud800", "kind": "storm"}',
    b'{"\\ud800": 1, "kind": "storm"}',
    b'{"name": "a\\u0000b", "kind": "storm"}',
    b'{"name": "x", "kind": "storm", "factor": 1e400}',
    b'{"name": "x", "kind": "storm", "factor": 99999999999999999999999999}',
    b'{"name": "x", "kind": "storm", "factor": -1}',
    b'{"name": "x", "kind": "storm", "factor": NaN}',
    b'{"name": "x", "kind": "promotion", "discount": 1e-400}',
    b'{"name": "x", "kind": "promotion", "discount": "0.' + b"1" * 5_000 + b'"}',
    b'{"name": "x", "kind": "storm", "start": "0001-01-01 00:00"}',
    b'{"name": "x", "kind": "storm", "start": "9999-12-31 23:59"}',
    b'{"name": "x", "kind": "storm", "start": "1970-01-01 00:00"}',
    b'{"name": "x", "kind": "storm", "start": "2199-12-31 23:59", "duration": "51y"}',
    b'{"name": "x", "kind": "storm", "duration": "' + b"9" * 400 + b'y"}',
    b'{"name": "x", "kind": "storm", "duration": -5}',
    b'{"name": "x", "kind": "storm", "duration": 18446744073709551616}',
    b'{"name": "x", "kind": "storm", "categories": ["a,b", ""]}',
    b'{"name": "x", "kind": "storm", "products": [["CS01"]]}',
    b'{"name": "x", "kind": "storm", "products": ["CS01", 1]}',
    b'{"name": "x", "name": 1, "kind": "storm", "kind": null}',
    b'{"name": "' + b"x" * 60_000 + b'", "kind": "storm"}',
    b'{"name": "x", "kind": "' + b"\\n" * 1_000 + b'"}',
]
FIELDS = [
    *("Accept: text/html", "Accept-Encoding: gzip, br", "Range: bytes=0-5", "Range: bytes=9-1", "If-None-Match: *"),
    *(
        "If-Modified-Since: yesterday",
        "Cookie: yasdg_token=\x01",
        'Cookie: a="\\351"; ;=;',
        "Cookie: " + "a=b;" * 1_000,
    ),
    *("Authorization: Bearer", "Authorization: Bearer \xff", "Authorization: Basic x", "Authorization: " + "x" * 7_000),
    *("Authorization: YASDG-HMAC-SHA256", "Authorization: YASDG-HMAC-SHA256 time=x, nonce=y, mac=z", "Origin: null"),
    *(
        "Origin: http://evil.example",
        "Sec-Fetch-Site: cross-site",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "HTTP2-Settings: x",
    ),
    *(
        "Connection: upgrade",
        "Connection: keep-alive",
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Expect: \xff",
        "Expect:",
    ),
    *("X: " + "y" * 8_200, "X" * 8_200 + ": y", "X\x00: y", "X: \x00", ": y", "X", " X: y", "X : y", "X: \xed\xa0\x80"),
    *(
        "Content-Encoding: gzip",
        "Content-Encoding: deflate",
        "Content-Encoding: br",
        "Content-Encoding: x",
        "Content-Encoding:",
    ),
    *(
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: x",
        "Transfer-Encoding: chunked, x",
    ),
    *(
        "Content-Length: -1",
        "Content-Length: 1e3",
        f"Content-Length: {LONG}",
        "Content-Length: 5",
        "Content-Length: 70000",
    ),
    *("Content-Type: application/json", "Content-Type: text/plain", "Content-Type: application/json; charset=utf-7"),
    *(
        "Content-Type: multipart/form-data; boundary=",
        "Content-Type: \xff",
        "Host: evil.example",
        "Host: [::1",
        "Host: \xff",
    ),
    *("Host: localhost:99999", "Host: a b", "Host:", "X-Forwarded-For: 1.1.1.1", "Forwarded: for=x", "TE: trailers"),
    *("Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Max-Forwards: 0", "Via: x", "Trailer: X", "Date: x"),
]
VERSIONS = ["HTTP/1.1"] * 120 + [
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/9.9",
    "HTTP/1.1.1",
    "http/1.1",
    "HTTX/1.1",
    "",
    "\x00",
]
BODIES = [
    *INCIDENTS,
    *(zlib.compress(b"{}"), zlib.compress(b"\x00" * 10_000_000), b"\x1f\x8b\x08\x00" + b"\x00" * 20, b"x" * 70_000),
    *(
        b"2\r\n{}\r\n0\r\n\r\n",
        b"x\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n",
        b"ffffffffffffffffff\r\n",
        b"2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n",
    ),
    *(
        b"2\r\n{}\r\n",
        b"0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
]
BYTES = [b"\x00", b"\xff", b"\r\n\r\n", b"\n", b"\r", b" ", b"\x80\x81", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"%"]


def request(method: str, path: str, *fields: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    """Return a request as it is sent: text as Latin-1 if possible, otherwise as UTF-8."""
    lines = [f"{method} {path} {version}", *fields]
    head = b"".join(_bytes(line) + b"\r\n" for line in lines) + b"\r\n"
    return head + body


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def post(body: bytes, *fields: str, path: str = "/incidents/") -> bytes:
    """Return a request with a JSON body, with the corresponding content type."""
    standard = (
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return request("POST", path, *standard, *fields, body=body)


def get(path: str, *fields: str) -> bytes:
    """Return a request for a page."""
    return request("GET", path, "Host: localhost", "Connection: close", *fields)


def made_by_hand() -> list[bytes]:
    """Return some two hundred handwritten requests."""
    requests = [get(path) for path in PATHS]
    requests += [get(f"/sales/?through={quote(time, safe='%')}&window=day") for time in TIMES]
    requests += [get(f"/sales/?by=category&after={key}") for key in KEYS]
    requests += [get(f"/inventory/?after={key}") for key in KEYS] + [
        get(f"/products/?limit={quote(n)}") for n in NUMBERS[:12]
    ]
    requests += [get(f"/share/?what=live&through={at}") for at in MICROSECONDS]
    requests += [
        get(f"/share/?what=sales&window=day&by={by}&limit=5&after={after}&through={at}")
        for by, after, at in (("product", "x", "0"), ("category", "", "60000000"), ("x", "", "0"), ("product", "", "1"))
    ]
    requests += [
        get(f"/share/?{query}") for query in ("", "what=", "what=level", "what=level&product_id=x", "what=levels")
    ]
    requests += [
        get("/share/?what=levels&limit=3&after=x"),
        get("/share/?what=levels&limit=-3"),
        get("/sales/?by=x&by=y"),
    ]
    requests += [post(body) for body in INCIDENTS]
    requests += [post(b"{}", field) for field in FIELDS if field.startswith(("Content-Encoding", "Expect", "Transfer"))]
    requests += [post(zlib.compress(b"{}"), "Content-Encoding: deflate"), post(b"junk", "Content-Encoding: gzip")]
    requests += [request(method, "/incidents/", "Host: localhost", "Connection: close") for method in METHODS]
    requests += [request("GET", "/health/", "Host: localhost", version=version) for version in set(VERSIONS)]
    requests += [get("/health/", *["X: y"] * number) for number in (100, 200, 5_000)]
    return [*requests, *BYTES]


def drawn(seed: int, number: int) -> Iterator[bytes]:
    """Yield random requests: the same ones for the same seed."""
    lot = random.Random(seed)
    for _ in range(number):
        yield _one(lot)


def _one(lot: random.Random) -> bytes:
    fields = [] if lot.random() < 0.05 else ["Host: localhost"]
    fields += ["Connection: close"] if lot.random() < 0.9 else []
    fields += lot.sample(FIELDS, lot.choice((0, 0, 0, 0, 0, 1, 1, 2, 4)))
    method = lot.choice(("GET", "GET", "POST", lot.choice(METHODS)))
    body = lot.choice(BODIES) if method == "POST" or lot.random() < 0.1 else b""
    if method == "POST" and lot.random() < 0.8:
        fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    made = request(method, _path(lot), *fields, body=body, version=lot.choice(VERSIONS))
    while lot.random() < 0.07:  # one or more bytes are replaced
        at = lot.randrange(min(len(made), 300))
        made = made[:at] + lot.choice((*BYTES, lot.randbytes(3))) + made[at + lot.choice((0, 1, 1, 5)) :]
    return made


def _path(lot: random.Random) -> str:
    if lot.random() < 0.3:
        return lot.choice(PATHS)
    number, key, time, at = lot.choice(NUMBERS), lot.choice(KEYS), lot.choice(TIMES), lot.choice(MICROSECONDS)
    parts = {
        "window": lot.choice(("minute", "hour", "day", "year", "")),
        "by": lot.choice(("product", "category", "", "x")),
        "limit": quote(number),
        "after": key,
        "through": quote(lot.choice((time, at)), safe="%"),
        "what": lot.choice(("state", "level", "levels", "sales", "live", "", "x")),
        "product_id": key,
        key: number if number.isascii() else "",
    }
    base = lot.choice(
        ("/sales/", "/sales/", "/inventory/", "/products/", "/share/", "/share/", "/workers/", "/incidents/")
    )
    chosen = lot.sample(sorted(parts), lot.randrange(len(parts)))
    if lot.random() < 0.05:
        chosen += chosen[:1]
    return f"{base}?" + "&".join(f"{name}={parts[name]}" for name in chosen)
