"""Who is let in: without a token this machine alone, and no page of somebody else; with one whoever has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from yasdg_app.web.access import PUBLIC_PATHS, TOKEN_COOKIE, check_access, host_of

TOKEN = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}
HERE = "127.0.0.1:6066"


def status(
    headers: dict[str, str] | None = None,
    *,
    token: str = "",
    method: str = "GET",
    path: str = "/inventory/",
    cookies: dict[str, str] | None = None,
    host: str = HERE,
) -> int:
    """The status of the rejection; 200 if the request is accepted."""
    found = check_access(token, method, path, CIMultiDict({"Host": host} | (headers or {})), cookies or {})
    return found.status if found else 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:6066", "127.0.0.1", "127.9.9.9:80", "[::1]:6066", "LOCALHOST"]
)
def test_without_a_token_this_machine_may_ask_by_its_own_names(host: str) -> None:
    assert status(host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:6066", "localhost.evil.example", "192.168.1.4", "", "["]
)
def test_without_a_token_a_name_that_somebody_else_made_mean_this_machine_is_refused(host: str) -> None:
    assert status(host=host) == 403
    assert status(host=host, path="/health/") == 403
    assert status({"Authorization": f"Bearer {TOKEN}"}, host=host, token=TOKEN) == 200


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {TOKEN}"}, {"authorization": f"bearer  {TOKEN} "}])
def test_the_token_opens_in_a_header(headers: dict[str, str]) -> None:
    assert status(headers, token=TOKEN) == 200


def test_the_token_opens_in_the_cookie() -> None:
    assert status(token=TOKEN, cookies={TOKEN_COOKIE: TOKEN}) == 200
    assert status(token=TOKEN, cookies={"other": TOKEN}) == 401
    # Whoever sends a header means that.
    assert status({"Authorization": "Bearer wrong"}, token=TOKEN, cookies={TOKEN_COOKIE: TOKEN}) == 401


@given(st.text(max_size=20) | st.sampled_from([TOKEN[:-1], TOKEN + "0", TOKEN.upper(), f"{TOKEN} {TOKEN}"]))
def test_nothing_else_does(given: str) -> None:
    assert status(token=TOKEN, cookies={TOKEN_COOKIE: given}) == 401
    assert status({"Authorization": f"Bearer {given}"}, token=TOKEN) == 401
    assert status({"Authorization": f"Basic {TOKEN}"}, token=TOKEN) == 401
    assert status(token=TOKEN) == 401


def test_those_who_watch_workers_need_no_token() -> None:
    assert {status(token=TOKEN, path=path) for path in PUBLIC_PATHS} == {200}
    assert {status(token=TOKEN, path=path) for path in ("/", "/metrics", "/health", "/health/x", "//ready/")} == {401}


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH", "ANYTHING"])
def test_a_page_of_somebody_else_changes_nothing(method: str) -> None:
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8080", ""):
        assert status(JSON | {"Origin": origin}, method=method) == 403, origin
    assert status(JSON | {"Origin": f"http://{HERE}"}, method=method) == 200
    assert status(JSON, method=method) == 200  # no browser


def test_a_page_of_somebody_else_asks_nothing_but_may_lead_here() -> None:
    image, link = {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert status(image, path="/share/") == status(image, path="/events/") == 403
    assert status(link, path="/") == 200
    assert status({"Sec-Fetch-Site": "same-origin"}, path="/events/") == 200


def test_a_form_changes_nothing() -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""):
        assert status({"Content-Type": content_type}, method="POST") == 415
    assert status(method="POST") == 415
    assert status({"Content-Type": "Application/JSON; charset=utf-8"}, method="POST") == 200
    assert status(method="DELETE") == 200  # which no form sends


@given(st.text(max_size=30))
def test_any_host_is_looked_at(host: str) -> None:
    host_of(host)
    assert status(host=host, token=TOKEN) == 401
