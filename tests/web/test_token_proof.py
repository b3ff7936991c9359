"""Workers prove to have the token and never send it; a proof is good for one question, one worker and a minute."""

import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from yasdg_app.web import token_proof as proof
from yasdg_app.web.token_proof import (
    MAX_SKEW_SECONDS,
    PeerRequest,
    address_of,
    authorization_of,
    is_response_proof,
    response_proof,
    verify_request,
)

TOKEN = "0123456789abcdef"
ADDRESS = "yasdg-0.yasdg 6066"
HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
TOKENS = st.text(string.ascii_letters + string.digits + "._~-", min_size=16, max_size=40)
REQUESTS = st.builds(PeerRequest, st.just("GET"), st.text(min_size=1), st.text(), st.integers(0, 10**12 - 1), HEX)


def answered(token: str, header: str, asked: PeerRequest, now: float) -> PeerRequest | None:
    return verify_request(token, header, asked.method, asked.target, asked.address, now)


@given(TOKENS, REQUESTS, st.integers(-MAX_SKEW_SECONDS, MAX_SKEW_SECONDS))
def test_who_has_the_token_proves_it_and_does_not_send_it(token: str, asked: PeerRequest, late: int) -> None:
    assume(token not in asked.nonce)
    header = authorization_of(token, asked)
    assert token not in header
    assert answered(token, header, asked, asked.time + late) == asked


@given(TOKENS, TOKENS, REQUESTS, st.data())
def test_nothing_of_a_question_can_be_changed(token: str, other: str, asked: PeerRequest, data: Any) -> None:
    header = authorization_of(token, asked)
    if other != token:
        assert answered(other, header, asked, asked.time) is None
    field = data.draw(st.sampled_from(PeerRequest._fields))
    changed = asked._replace(**{field: data.draw(st.integers(0, 10**12 - 1) if field == "time" else st.text())})
    if changed != asked:
        lied = header.replace(f"time={asked.time}", f"time={changed.time}").replace(asked.nonce, changed.nonce)
        assert answered(token, lied, changed, changed.time) is None


@given(REQUESTS, st.integers(MAX_SKEW_SECONDS + 1, 10**9), st.booleans())
def test_a_question_is_of_its_minute(asked: PeerRequest, off: int, early: bool) -> None:
    header = authorization_of(TOKEN, asked)
    assert answered(TOKEN, header, asked, asked.time + (-off if early else off)) is None


@given(st.text() | st.from_regex(proof._AUTHORIZATION, fullmatch=True), st.text(), st.text(), st.text())
def test_any_other_header_proves_nothing(header: str, method: str, target: str, address: str) -> None:
    assert verify_request(TOKEN, header, method, target, address, 0) is None


@given(TOKENS, REQUESTS, REQUESTS, st.binary(), st.binary(), st.text())
def test_an_answer_is_of_its_question_and_of_somebody_who_has_the_token(
    token: str, asked: PeerRequest, other: PeerRequest, body: bytes, forged: bytes, junk: str
) -> None:
    given = response_proof(token, asked, 200, body)
    assert is_response_proof(token, asked, 200, body, given)
    assert not is_response_proof(token, asked, 503, body, given)
    assert not is_response_proof(token, asked, 200, body, junk)
    assert is_response_proof(token, asked, 200, forged, given) == (forged == body)
    if (other.nonce, other.address) != (asked.nonce, asked.address):
        assert not is_response_proof(token, other, 200, body, given)
    assert not is_response_proof(token + "x", asked, 200, body, given)


def test_a_question_is_no_answer() -> None:
    asked = PeerRequest("GET", "/share/?what=state", ADDRESS, 1, "0" * 32)
    (mac,) = authorization_of(TOKEN, asked).rpartition("mac=")[2:]
    assert not is_response_proof(TOKEN, asked, 200, b"", mac)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://yasdg-0.yasdg:6066", ADDRESS),
        ("http://YASDG-0.yasdg:6066/share/", ADDRESS),
        ("http://127.0.0.1:6066/", "127.0.0.1 6066"),
        ("http://[::1]:6066", "::1 6066"),
        ("http://localhost", "localhost 80"),
    ],
)
def test_an_address_is_written_in_one_way(url: str, address: str) -> None:
    assert address_of(URL(url)) == address


@pytest.mark.parametrize("url", ["", "nonsense", "file:///etc/passwd", "ftp://a:21", "//a:1", "http://"])
def test_what_is_no_address_is_not_asked(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|scheme|host|URL|port"):
        address_of(URL(url))
