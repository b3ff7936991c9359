"""Every way to sign in to a real Apache Kafka, and what is said if it does not let us in."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka.admin import AclOperation
from support.secured_kafka import (
    CHANGING,
    CLIENT,
    GUEST,
    HOST,
    PASSWORD,
    PLAIN,
    SCOPE,
    SCRAM,
    SECRET,
    Secured,
    TokenEndpoint,
)
from support.shop import Shop, Worker, yasdg

from yasdg_app.config import ini
from yasdg_app.kafka.auth.connection import Connection, connection_to
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError, check_login
from yasdg_app.kafka.embedded.node import free_port

pytestmark = pytest.mark.xdist_group("secured")

WRONG = "wrong-password"
ROUND = 4
"""Connections that a worker keeps busy: two that read, the group's and the producer's."""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    broker = Secured(tmp_path_factory.mktemp("secured"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def endpoint(secured: Secured) -> Iterator[TokenEndpoint]:
    with TokenEndpoint(secured).serving() as endpoint:
        yield endpoint


Login = Mapping[str, str]
"""Keys of [KAFKA] and their values."""


@pytest.fixture
def logins(secured: Secured, endpoint: TokenEndpoint, tmp_path: Path) -> dict[str, Login]:
    """Keys that are right, by what a test calls them."""
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    trusted = {"ssl_ca_file": secured.path("ca.pem")}
    scram = {"auth_method": "sasl_scram", "sasl_username": SCRAM, "sasl_password": PASSWORD}
    through_tls = trusted | {"bootstrap_servers": secured.at("sasl_ssl")}
    return {
        "ssl": {
            **trusted,
            "bootstrap_servers": secured.at("ssl"),
            "auth_method": "ssl",
            "ssl_cert_file": secured.path("client-certificate.pem"),
            "ssl_key_file": secured.path("client-key.pem"),
            "ssl_key_password_file": str(secret),
        },
        "plain": {
            **through_tls,
            "auth_method": "sasl_plain",
            "sasl_username": PLAIN,
            "sasl_password_file": str(secret),
        },
        "scram-256": {**through_tls, **scram, "sasl_scram_mechanism": "SCRAM-SHA-256"},
        "scram-512": {**through_tls, **scram},
        "scram without TLS": {
            **scram,
            "bootstrap_servers": secured.at("sasl_plaintext"),
            "sasl_protocol": "SASL_PLAINTEXT",
        },
        "oauthbearer": {
            **through_tls,
            "auth_method": "sasl_oauthbearer",
            "sasl_oauthbearer_token_endpoint_url": endpoint.url,
            "sasl_oauthbearer_client_id": CLIENT,
            "sasl_oauthbearer_client_secret": SECRET,
            "sasl_oauthbearer_scope": SCOPE,
            "sasl_oauthbearer_extensions": "logicalCluster=lkc-1, identityPoolId=pool-1",
        },
        "msk": {**through_tls, "auth_method": "aws_msk_iam", "aws_region": "eu-central-1"},
    }


def variables(login: Login) -> dict[str, str]:
    return {f"KAFKA_{key.upper()}": value for key, value in login.items()}


def connection(login: Login, folder: Path) -> Connection:
    environment = {f"YASDG_{name}": value for name, value in variables(login).items()}
    return connection_to(ini.load(environment, folder).kafka)


# --- Whoever may comes in


@pytest.mark.parametrize("how", ["ssl", "plain", "scram-256", "scram-512", "scram without TLS", "oauthbearer"])
def test_a_shop_lives_on_a_cluster_that_asks_who_is_there(
    how: str, secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    shop.on(secured.at("plaintext")).configure(**variables(logins[how]), SALES_NUMBER_OF_SALES="100")
    assert shop.worker().ends() == 0
    assert len(shop.purchases()) == 100
    audit = yasdg(shop, "audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_every_command_signs_in(secured: Secured, logins: dict[str, Login], shop: Shop) -> None:
    shop.on(secured.at("plaintext")).configure(**variables(logins["scram-512"]), SALES_NUMBER_OF_SALES="200")
    assert shop.worker().ends() == 0
    assert f"{shop.topic('purchases')}: 8 partitions, 200 messages" in yasdg(shop, "topics").stdout
    consume = [sys.executable, "-m", "yasdg_app", "consume", "--json", "--from-beginning"]
    with subprocess.Popen(consume, cwd=shop.folder, env=shop.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(200)]
        process.terminate()
    (shop.folder / "seen.jsonl").write_text("".join(lines))
    truth = yasdg(shop, "truth", "--window", "all")
    assert f"Truth computed from the shop on {secured.at('sasl_ssl')}" in truth.stderr
    verified = yasdg(shop, "verify", "seen.jsonl")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    incident = yasdg(shop, "incident")
    assert incident.returncode == 0, incident.stderr


def test_amazons_tokens_go_the_same_way(secured: Secured, logins: dict[str, Login], shop: Shop) -> None:
    """What AWS signs, no broker but MSK understands: the worker is given another token at that place alone."""
    shop.on(secured.at("plaintext")).configure(**variables(logins["msk"]), SALES_NUMBER_OF_SALES="200")
    shop.environment |= {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "aws-secret", "TOKEN": secured.token()}
    assert shop.worker("given_tokens.py").ends() == 0
    assert len(shop.purchases()) == 200
    refused = shop.worker()
    assert refused.ends() == 1
    assert "rejects the AWS credentials found here" in refused.said


def test_a_worker_outlives_its_sessions(secured: Secured, logins: dict[str, Login], shop: Shop) -> None:
    """The cluster breaks off a connection whose login is too old: after an hour or so, here after four seconds."""
    shop.on(secured.at("plaintext")).configure(**variables(logins["oauthbearer"]), SALES_NUMBER_OF_SALES="2000")
    before = secured.broken_off
    worker = shop.worker()
    for path in ("/workers/", "/health/", "/openapi.json", "/incidents/"):
        assert SECRET not in str(worker.get(path))
    assert worker.ends() == 0
    assert secured.broken_off - before > ROUND  # those that were made anew, too
    assert len(shop.purchases()) == 2000
    assert yasdg(shop, "audit").returncode == 0


def test_a_worker_waits_for_a_token_endpoint_that_is_down(
    secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    late = TokenEndpoint(secured)
    login = {**logins["oauthbearer"], "sasl_oauthbearer_token_endpoint_url": late.url}
    shop.on(secured.at("plaintext")).configure(**variables(login), SALES_NUMBER_OF_SALES="100")
    worker = shop.worker()
    worker.until(lambda: "Waiting for Apache Kafka" in worker.said, "that it waits")
    assert f"The token endpoint {late.url} does not answer" in worker.said
    with late.serving():
        assert worker.ends() == 0


def test_no_secret_is_told(secured: Secured, logins: dict[str, Login], shop: Shop) -> None:
    shop.on(secured.at("plaintext")).configure(**variables(logins["plain"]), SALES_NUMBER_OF_SALES="100")
    ended = yasdg(shop, "worker", "-l", "debug", "--web-port", str(free_port()))
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout + ended.stderr
    for what in ("opening", "control"):
        said += "".join(str(message.value) for message in shop.read(f"{shop.name}-{what}"))
    assert "opened_at" in said  # the topics were read
    assert "[DEBUG]" in ended.stderr  # all was told that is ever told
    assert PASSWORD.partition(" ")[0] not in said  # the rest may be written in another way


# --- Whoever may not is told why


class Case(NamedTuple):
    """Somebody who is not let in."""

    how: str
    port: str
    different: Login
    """From what would be right."""
    said: str


ALONE = {"ssl_cert_file": "", "ssl_key_file": ""}
BY_PASSWORD = "rejects the name or the password of"
CASES = {
    "a wrong password (PLAIN)": Case(
        "plain", "sasl_ssl", {"sasl_password_file": "", "sasl_password": WRONG}, f"{BY_PASSWORD} till (PLAIN)"
    ),
    "a wrong password (SCRAM-SHA-256)": Case(
        "scram-256", "sasl_ssl", {"sasl_password": WRONG}, f"{BY_PASSWORD} till, =1 (SCRAM-SHA-256)"
    ),
    "a wrong password (SCRAM-SHA-512)": Case(
        "scram-512",
        "sasl_ssl",
        {"sasl_password": WRONG},
        f"{BY_PASSWORD} till, =1 (SCRAM-SHA-512): check [KAFKA] sasl_username and sasl_password (Authentication failed "
        "during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512).",
    ),
    "an unknown user": Case("scram-512", "sasl_ssl", {"sasl_username": "nobody"}, f"{BY_PASSWORD} nobody"),
    "a token for somebody else": Case(
        "oauthbearer",
        "sasl_ssl",
        {"sasl_oauthbearer_scope": "another"},
        "rejects the token of the client shop:client of https://localhost:",
    ),
    "a wrong client secret": Case(
        "oauthbearer",
        "sasl_ssl",
        {"sasl_oauthbearer_client_secret": WRONG},
        "returned no token (status 401, invalid_client: It is not shop:client:…). Check sasl_oauthbearer_client_id",
    ),
    "an unknown CA": Case("scram-512", "sasl_ssl", {"ssl_ca_file": "foreign-ca.pem"}, "is not signed by a trusted CA"),
    "no CA but the machine's": Case(
        "scram-512", "sasl_ssl", {"ssl_ca_file": ""}, "name the certificate of its CA in [KAFKA] ssl_ca_file"
    ),
    "an expired certificate": Case("ssl", "expired", {}, "is not valid at this time (certificate has expired)"),
    "a certificate for another name": Case("ssl", "misnamed", {}, "is for another name"),
    "a certificate for another name than the cluster's own": Case(
        "ssl", "misdirecting", {}, "The certificate of Apache Kafka at 127.0.0.1:"
    ),
    "no client certificate": Case("ssl", "ssl", ALONE, "rejects our certificate, or requires one"),
    "an expired client certificate": Case(
        "ssl", "ssl", ALONE | {"ssl_cert_file": "client-expired.pem"}, "rejects our certificate, or requires one"
    ),
    "a client certificate of another CA": Case(
        "ssl", "ssl", ALONE | {"ssl_cert_file": "client-foreign.pem"}, "rejects our certificate, or requires one"
    ),
    "plaintext where TLS is spoken": Case(
        "ssl",
        "ssl",
        {"auth_method": "plaintext"},
        "expects TLS on this port, and the configuration has none: set [KAFKA] auth_method to ssl, or to the login "
        "that it requires",
    ),
    "a login without TLS where TLS is spoken": Case(
        "scram-512",
        "sasl_ssl",
        {"sasl_protocol": "sasl_plaintext"},
        "expects TLS on this port, and the configuration has none: set [KAFKA] sasl_protocol = sasl_ssl",
    ),
    "TLS where there is none": Case("ssl", "plaintext", {}, "does not use TLS on this port"),
    "a login through TLS where there is none": Case(
        "scram-512", "sasl_plaintext", {}, "or set sasl_protocol = sasl_plaintext"
    ),
    "a mechanism that is not offered": Case(
        "plain",
        "scram_only",
        {},
        "does not offer PLAIN on this port, but SCRAM-SHA-512: set [KAFKA] auth_method and sasl_scram_mechanism to "
        "what it offers (sasl_scram)",
    ),
    "a login where certificates are asked for": Case(
        "scram-512", "ssl", {"ssl_cert_file": "client.pem"}, "requires no login on this port"
    ),
    "no login where one is asked for": Case(
        "ssl",
        "sasl_ssl",
        {},
        "requires a login on this port (OAUTHBEARER, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512)",
    ),
    "plaintext where a login is asked for": Case(
        "ssl", "sasl_plaintext", {"auth_method": "plaintext"}, "requires a login on this port"
    ),
}


def not_let_in(case: str, secured: Secured, logins: dict[str, Login]) -> Login:
    how, port, different, _ = CASES[case]
    files = {key: secured.path(name) if name.endswith(".pem") else name for key, name in different.items()}
    return {**logins[how], "bootstrap_servers": secured.at(port), **files}


@pytest.mark.parametrize("case", CASES)
async def test_whoever_is_not_let_in_is_told_why(
    case: str, secured: Secured, logins: dict[str, Login], tmp_path: Path
) -> None:
    login, said = not_let_in(case, secured, logins), CASES[case].said
    with pytest.raises(LoginRefusedError) as caught:
        await check_login(connection(login, tmp_path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert WRONG not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("how", ["ssl", "plain", "scram-256", "scram-512", "scram without TLS", "oauthbearer"])
async def test_of_a_login_that_is_right_nothing_is_said(how: str, logins: dict[str, Login], tmp_path: Path) -> None:
    await check_login(connection(logins[how], tmp_path))


async def test_nobody_refuses_where_nobody_answers(logins: dict[str, Login], tmp_path: Path) -> None:
    for how in ("ssl", "scram-512"):
        login = {**logins[how], "bootstrap_servers": f"{HOST}:{free_port()}"}
        await check_login(connection(login, tmp_path))


async def test_one_server_that_lets_us_in_is_enough(secured: Secured, logins: dict[str, Login], tmp_path: Path) -> None:
    servers = f"{secured.at('ssl')},{secured.at('sasl_ssl')},{HOST}:{free_port()}"
    await check_login(connection({**logins["scram-512"], "bootstrap_servers": servers}, tmp_path))


def without_banner(said: str) -> str:
    """What a worker says beside the table that Faust begins with."""
    return "\n".join(line for line in said.splitlines() if line.strip() and line[0] not in "+|")


AT_THE_TERMINAL = [
    "a wrong password (SCRAM-SHA-512)",
    "a token for somebody else",
    "an unknown CA",
    "an expired certificate",
    "a certificate for another name than the cluster's own",
    "an expired client certificate",
]


@pytest.mark.parametrize("case", AT_THE_TERMINAL)
def test_a_worker_and_a_command_say_it_in_one_line_and_end(
    case: str, secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    login, said = not_let_in(case, secured, logins), CASES[case].said
    worker = shop.on(login["bootstrap_servers"]).configure(**variables(login)).worker()
    command = yasdg(shop, "topics")
    assert (worker.ends(), command.returncode) == (1, 1)
    for words in (without_banner(worker.said), command.stderr):
        (line,) = words.splitlines()
        assert "yasdg: " in line
        assert said in line


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["consume"], 1),
        (["incident"], 1),
        (["truth", "--window", "1m"], 1),
        (["audit"], 2),
        (["verify", "seen.jsonl"], 2),
    ],
)
def test_no_command_waits_for_a_cluster_that_does_not_let_it_in(
    arguments: list[str], status: int, secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    (shop.folder / "seen.jsonl").write_text('{"transaction_id": "CS01-000001"}\n')
    case = "a wrong password (SCRAM-SHA-512)"
    login, said = not_let_in(case, secured, logins), CASES[case].said
    ended = yasdg(shop.on(login["bootstrap_servers"]).configure(**variables(login)), *arguments)
    assert ended.returncode == status, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert said in line


def test_a_worker_that_may_not_do_what_a_shop_needs_says_so_and_ends(
    secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    secured.forbid(GUEST, AclOperation.READ, shop.name)
    login = {**logins["scram-512"], "sasl_username": GUEST}
    worker = shop.on(secured.at("sasl_ssl")).configure(**variables(login)).worker()
    assert worker.ends() == 1
    (line,) = without_banner(worker.said).splitlines()
    assert "accepts the login, but denies what a shop needs ([Error 29] TopicAuthorizationFailedError" in line


def test_a_file_that_cannot_be_used_is_a_wrong_configuration(
    secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    login = {**logins["ssl"], "ssl_ca_file": "nowhere.pem"}
    ended = yasdg(shop.on(secured.at("ssl")).configure(**variables(login)), "topics")
    assert ended.returncode == 2
    assert f"[KAFKA] ssl_ca_file: {shop.folder}/nowhere.pem: cannot be read: No such file or directory" in ended.stderr


def test_a_worker_whose_password_is_changed_says_so_and_ends(
    secured: Secured, logins: dict[str, Login], shop: Shop
) -> None:
    login = {**logins["scram-256"], "sasl_username": CHANGING}
    shop.on(secured.at("plaintext")).configure(**variables(login))
    worker: Worker = shop.worker()
    worker.until(lambda: len(_sold(shop)) > 100, "that it sells")
    secured.let_in(CHANGING, "another password")
    assert worker.ends(60) == 1
    assert "rejects the name or the password of changing (SCRAM-SHA-256)" in worker.said.splitlines()[-1]
    assert "Traceback" not in worker.said


def _sold(shop: Shop) -> list[dict[str, object]]:
    try:
        return shop.purchases()
    except AssertionError:  # there is no topic yet
        return []
