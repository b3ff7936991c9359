"""What the settings come to for a client, and what is said of files that cannot be used."""

from pathlib import Path

import pytest
from support.secured_kafka import PASSWORD, Secured

from yasdg_app.app import create_app
from yasdg_app.config import ini
from yasdg_app.errors import ConfigurationError
from yasdg_app.faust_runtime.shop_app import credentials
from yasdg_app.kafka.auth.connection import Connection, connection_to


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates and keys."""
    return Secured(tmp_path_factory.mktemp("certificates")).folder


def connection(folder: Path, **keys: str) -> Connection:
    environment = {f"YASDG_KAFKA_{key.upper()}": value for key, value in {"bootstrap_servers": "kafka", **keys}.items()}
    return connection_to(ini.load(environment, folder).kafka)


def problems(folder: Path, **keys: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        connection(folder, **keys)
    return caught.value.problems


def test_the_embedded_broker_asks_nobody_who_they_are(files: Path) -> None:
    assert connection(files, bootstrap_servers="embedded", embedded_port="9999") == Connection("127.0.0.1:9999")


def test_plaintext_is_the_default(files: Path) -> None:
    assert connection(files) == Connection("kafka:9092")
    assert credentials(connection(files)) is None


def test_a_login_goes_through_tls_unless_it_is_told_otherwise(files: Path) -> None:
    login = {"auth_method": "sasl_scram", "sasl_username": "till", "sasl_password": PASSWORD}
    own = connection(files, **login)
    assert (own.security_protocol, own.sasl_mechanism) == ("SASL_SSL", "SCRAM-SHA-512")
    assert own.ssl_context is not None
    assert own.ssl_context.check_hostname
    plain = connection(files, **login, sasl_protocol="SASL_PLAINTEXT", sasl_scram_mechanism="SCRAM-SHA-256")
    assert (plain.security_protocol, plain.sasl_mechanism, plain.ssl_context) == (
        "SASL_PLAINTEXT",
        "SCRAM-SHA-256",
        None,
    )


@pytest.mark.parametrize("content", ["{}", "{}\n", "{}\r\n"])
def test_a_secret_may_stand_in_a_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content.format(PASSWORD).encode())
    own = connection(tmp_path, auth_method="sasl_plain", sasl_username="till", sasl_password_file="secret")
    assert own.password == PASSWORD


def test_a_secret_is_in_no_repr(files: Path) -> None:
    login = {"sasl_username": "till", "sasl_password": "hunter2"}
    client = {"sasl_oauthbearer_client_id": "till", "sasl_oauthbearer_client_secret": "hunter2"}
    client["sasl_oauthbearer_token_endpoint_url"] = "https://localhost/token"
    for own in (
        connection(files, auth_method="sasl_plain", **login),
        connection(files, auth_method="sasl_oauthbearer", **client),
    ):
        assert "hunter2" not in f"{own} {own.tokens!r} {credentials(own)!r}"


def test_faust_gets_the_same_login(files: Path) -> None:
    login = {"auth_method": "sasl_scram", "sasl_username": "till", "sasl_password": "hunter2"}
    environment = {
        f"YASDG_KAFKA_{key.upper()}": value for key, value in {**login, "bootstrap_servers": "kafka"}.items()
    }
    app = create_app(ini.load(environment, files), ())
    told = app.conf.broker_credentials
    assert (told.protocol.value, told.mechanism.value, told.username) == ("SASL_SSL", "SCRAM-SHA-512", "till")
    assert told.ssl_context is app.shop.connection.ssl_context


# --- Files that cannot be used


def test_files_that_are_not_there_are_told_all_at_once(files: Path) -> None:
    found = problems(
        files,
        auth_method="ssl",
        ssl_ca_file="no-ca.pem",
        ssl_cert_file="no-cert.pem",
        ssl_key_password_file="no-secret",
    )
    where = {"ssl_ca_file": "no-ca.pem", "ssl_cert_file": "no-cert.pem", "ssl_key_password_file": "no-secret"}
    assert sorted(found) == [
        f"[KAFKA] {key}: {files / name}: cannot be read: No such file or directory" for key, name in where.items()
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"ssl_ca_file": "nothing"}, "[KAFKA] ssl_ca_file: {}/nothing: expected certificates in PEM"),
        ({"ssl_ca_file": "client-key.pem"}, "[KAFKA] ssl_ca_file: {}/client-key.pem: expected certificates in PEM"),
        ({"ssl_cert_file": "nothing"}, "[KAFKA] ssl_cert_file, ssl_key_file: {}/nothing: expected a certificate and"),
        (
            {"ssl_cert_file": "client-certificate.pem"},
            "[KAFKA] ssl_cert_file, ssl_key_file: {}/client-certificate.pem: ",
        ),
        (
            {"ssl_cert_file": "client-certificate.pem", "ssl_key_file": "client-key.pem"},
            "[KAFKA] ssl_key_file: {}/client-key.pem: it is encrypted: set ssl_key_password",
        ),
        (
            {
                "ssl_cert_file": "client-certificate.pem",
                "ssl_key_file": "client-key.pem",
                "ssl_key_password": "hunter2",
            },
            "[KAFKA] ssl_key_file: {}/client-key.pem: [KAFKA] ssl_key_password does not decrypt it",
        ),
        (
            {"ssl_cert_file": "client-certificate.pem", "ssl_key_file": "server.pem"},
            "[KAFKA] ssl_key_file: {}/server.pem: it is not the key of {}/client-certificate.pem",
        ),
        (
            {"ssl_key_password_file": "nothing"},
            "[KAFKA] ssl_key_password_file: {}/nothing: expected the secret, on one",
        ),
        ({"ssl_key_password_file": "client.pem"}, "[KAFKA] ssl_key_password_file: {}/client.pem: expected the secret"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_key(keys: dict[str, str], said: str, files: Path) -> None:
    (files / "nothing").touch()
    (problem,) = problems(files, auth_method="ssl", **keys)
    assert problem.startswith(said.replace("{}", str(files)))
    assert "hunter2" not in problem
