"""Tokens: where they come from, for how long they are kept, and what is said when there is none."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.secured_kafka import CLIENT, HOST, SCOPE, SECRET, Secured, TokenEndpoint

from yasdg_app.errors import ConfigurationError
from yasdg_app.kafka.auth import tokens
from yasdg_app.kafka.auth.tokens import ClientCredentials, MskTokens, TokenError, Tokens
from yasdg_app.kafka.embedded.node import free_port


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Secured:
    """Who signs tokens and certificates; it is no broker here, since it is not started."""
    return Secured(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
def endpoint(issuer: Secured) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(issuer).serving() as endpoint:
        yield endpoint


def client(issuer: Secured, url: str, secret: str = SECRET, ca: str = "ca.pem", scope: str = SCOPE) -> Tokens:
    return ClientCredentials(url, CLIENT, secret, scope, {"logicalCluster": "lkc-1"}, Path(issuer.path(ca)))


# --- From a token endpoint


async def test_a_client_gets_a_token_for_its_scope(issuer: Secured, endpoint: TokenEndpoint) -> None:
    own = client(issuer, endpoint.url)
    assert (await own.token()).count(".") == 2
    assert endpoint.asked == [{"grant_type": ["client_credentials"], "scope": [SCOPE]}]
    assert own.extensions() == {"logicalCluster": "lkc-1"}
    await client(issuer, endpoint.url, scope="").token()
    assert endpoint.asked[1] == {"grant_type": ["client_credentials"]}


async def test_a_token_is_kept_until_shortly_before_its_end(
    issuer: Secured, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, now = client(issuer, endpoint.url), time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
    first = await own.token()
    now += 235  # of 300, and a minute is left for whoever begins now
    assert await own.token() == first
    assert len(endpoint.asked) == 1
    now += 10
    await own.token()
    assert len(endpoint.asked) == 2
    await own.renew()
    assert len(endpoint.asked) == 3


async def test_a_token_whose_end_is_not_told_is_kept_for_a_while(
    issuer: Secured, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, now = client(issuer, f"{endpoint.url}/untold"), time.monotonic()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now)
    first = await own.token()
    now += 40
    assert await own.token() == first
    assert len(endpoint.asked) == 1
    now += 20
    await own.token()
    assert len(endpoint.asked) == 2


async def test_a_login_in_netrc_is_not_the_clients(
    issuer: Secured, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f"machine {HOST}\nlogin somebody\npassword else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert (await client(issuer, endpoint.url).token()).count(".") == 2


@pytest.mark.parametrize(
    ("path", "refused", "said"),
    [
        ("/down", False, "cannot issue a token now (status 503)"),
        ("/page", True, "answers without an access_token. Check its address"),
        ("/list", True, "answers without an access_token. Check its address"),
        ("/elsewhere", True, "returned no token (status 302). Check sasl_oauthbearer_client_id"),
    ],
)
async def test_an_endpoint_that_gives_none_is_told_by_its_address(
    path: str, refused: bool, said: str, issuer: Secured, endpoint: TokenEndpoint
) -> None:
    with pytest.raises(TokenError) as caught:
        await client(issuer, f"{endpoint.url}{path}").token()
    assert str(caught.value).startswith(f"The token endpoint {endpoint.url}{path} {said}")
    assert caught.value.refused == refused


async def test_a_client_that_it_does_not_know_is_refused_without_a_word_of_its_secret(
    issuer: Secured, endpoint: TokenEndpoint
) -> None:
    with pytest.raises(TokenError) as caught:
        await client(issuer, f"{endpoint.url}?for=us", secret="not/this=one").token()
    assert caught.value.refused
    assert f"{endpoint.url} returned no token (status 401, invalid_client: It is not {CLIENT}:…)" in str(caught.value)


async def test_an_endpoint_that_is_not_there_may_come(issuer: Secured) -> None:
    with pytest.raises(
        TokenError, match=r"^The token endpoint https://localhost:\d+ does not answer \(.*Connect call.*\)$"
    ) as caught:
        await client(issuer, f"https://{HOST}:{free_port()}").token()
    assert not caught.value.refused


async def test_an_endpoint_that_nobody_trusts_is_told_nothing(issuer: Secured, endpoint: TokenEndpoint) -> None:
    with pytest.raises(TokenError, match=r"is not trusted \(.+\)\. Check the address, or name the CA") as caught:
        await client(issuer, endpoint.url, ca="foreign-ca.pem").token()
    assert caught.value.refused
    assert endpoint.asked == []


# --- For Amazon MSK


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials in the environment, and nothing else of AWS's on this machine."""
    nowhere = {"AWS_CONFIG_FILE": tmp_path / "config", "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "credentials"}
    for name, value in {**nowhere, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "AKID"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def signed(token: str) -> tuple[str, dict[str, str]]:
    """The address in a token without its query, and that."""
    url = urlsplit(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    query = parse_qs(url.query, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values())
    return f"{url.scheme}://{url.netloc}{url.path}", {name: values[0] for name, values in query.items()}


@pytest.mark.usefixtures("keys")
async def test_a_token_for_msk_is_a_signed_request_to_connect() -> None:
    """As https://docs.aws.amazon.com/msk/latest/developerguide/iam-access-control.html and AWS's libraries have it."""
    token = await MskTokens("eu-central-1", "", "").token()
    assert "=" not in token  # base64url without padding
    where, query = signed(token)
    assert where == "https://kafka.eu-central-1.amazonaws.com/"
    assert query["Action"] == "kafka-cluster:Connect"
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    day = time.strftime("%Y%m%d", time.gmtime())
    assert query["X-Amz-Credential"] in {
        f"AKID/{each}/eu-central-1/kafka-cluster/aws4_request" for each in (day, query["X-Amz-Date"][:8])
    }
    assert query["X-Amz-SignedHeaders"] == "host"
    assert 0 < int(query["X-Amz-Expires"]) <= 900
    assert len(query["X-Amz-Signature"]) == 64
    assert query["User-Agent"].startswith("aws-msk-iam-sasl-signer-python/")
    assert "aws-secret" not in str(query)


@pytest.mark.usefixtures("keys")
async def test_a_token_for_msk_is_kept_for_less_than_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    own, now = MskTokens("eu-central-1", "", ""), time.monotonic()
    first = await own.token()
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 800)
    assert await own.token() == first
    monkeypatch.setattr(tokens.time, "monotonic", lambda: now + 860)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ANOTHER")
    assert signed(await own.token())[1]["X-Amz-Credential"].startswith("ANOTHER/")


@pytest.mark.usefixtures("keys")
async def test_a_token_for_msk_is_of_the_profile_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = a\n"
        "[shop]\naws_access_key_id = SHOP\naws_secret_access_key = b\n"
    )
    assert signed(await MskTokens("eu-central-1", "shop", "").token())[1]["X-Amz-Credential"].startswith("SHOP/")
    with pytest.raises(TokenError, match=r"AWS issued no token for the profile nobody: .*nobody") as caught:
        await MskTokens("eu-central-1", "nobody", "").token()
    assert caught.value.refused


ROLE = "arn:aws:iam::123456789012:role/shop"


LENT = b"""\
<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ROLE</AccessKeyId>
<SecretAccessKey>lent-secret</SecretAccessKey><SessionToken>lent-session</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture
def lends(keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, list[str]]]]:
    """A stand-in for AWS STS, which lends the keys of a role once; what it was asked."""
    asked: list[dict[str, list[str]]] = []

    class Sts(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(LENT)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port()), Sts)
    server.timeout = 30  # if nobody asks
    thread = Thread(target=server.handle_request)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_port}")
    try:
        yield asked
    finally:
        thread.join()
        server.server_close()


async def test_a_token_for_msk_is_of_the_role_that_is_named(lends: list[dict[str, list[str]]]) -> None:
    query = signed(await MskTokens("eu-central-1", "", ROLE).token())[1]
    assert query["X-Amz-Credential"].startswith("ROLE/")
    assert query["X-Amz-Security-Token"] == "lent-session"
    assert lends[0]["RoleArn"] == [ROLE]


AT_DEBUG = f"""\
import asyncio, logging, sys
from mode.utils.logging import setup_logging
from yasdg_app.faust_runtime.log_levels import silence_libraries
from yasdg_app.kafka.auth.tokens import MskTokens

setup_logging(loglevel="debug", logfile=sys.stderr)
silence_libraries()
logging.getLogger("yasdg_app").debug("Asking for a token.")
print(asyncio.run(MskTokens("eu-central-1", "", "{ROLE}").token()))
"""


@pytest.mark.usefixtures("lends")
def test_no_secret_of_aws_is_in_the_log_of_a_worker_at_debug(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(tokens.__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", AT_DEBUG], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    token = ended.stdout.strip()
    assert "Asking for a token." in ended.stderr
    for secret in ("aws-secret", "lent-secret", "lent-session", signed(token)[1]["X-Amz-Signature"], token):
        assert secret not in ended.stderr


@pytest.mark.usefixtures("keys")
async def test_a_role_that_cannot_be_asked_for_now_may_be_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TokenError, match=f"AWS does not answer {ROLE}: Could not connect") as caught:
        await MskTokens("eu-central-1", "", ROLE).token()
    assert not caught.value.refused


@pytest.mark.usefixtures("keys")
async def test_a_machine_without_credentials_gets_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(
        TokenError, match="AWS issued no token for the AWS credentials found here: Unable to locate"
    ) as caught:
        await MskTokens("eu-central-1", "", "").token()
    assert caught.value.refused


def test_the_package_that_is_needed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(ConfigurationError) as caught:
        MskTokens("eu-central-1", "", "")
    assert caught.value.problems == [
        "[KAFKA] auth_method = aws_msk_iam: it needs the package aws-msk-iam-sasl-signer-python. "
        'Install it: pip install "yasdg[aws]"'
    ]
