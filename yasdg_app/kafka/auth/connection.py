"""The connection parameters of every client of the cluster, made from the settings once."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yasdg_app.config.files import read_text
from yasdg_app.config.settings import KafkaSettings
from yasdg_app.errors import ConfigurationError
from yasdg_app.kafka.auth.tokens import ClientCredentials, MskTokens, Tokens
from yasdg_app.text import printable


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster at `host:port[,host:port]`, and how to authenticate; by default, neither TLS nor a login."""

    servers: str
    security_protocol: str = "PLAINTEXT"
    """PLAINTEXT, SSL, SASL_SSL or SASL_PLAINTEXT."""
    ssl_context: ssl.SSLContext | None = field(default=None, repr=False)
    sasl_mechanism: str | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    tokens: Tokens | None = field(default=None, repr=False)
    """With the mechanism OAUTHBEARER."""

    @property
    def client(self) -> dict[str, Any]:
        """The arguments of every client of aiokafka."""
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "security_protocol": self.security_protocol,
            "ssl_context": self.ssl_context,
        }
        if self.sasl_mechanism:
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
                "sasl_oauth_token_provider": self.tokens,
            }
        return arguments


def connection_to(kafka: KafkaSettings) -> Connection:
    """Return the connection of the configured cluster.

    Raises ConfigurationError, with every problem found, if a file cannot be used or a package is not installed.
    """
    if kafka.embedded:
        return Connection(f"127.0.0.1:{kafka.embedded_port}")
    if kafka.auth_method == "plaintext":
        return Connection(kafka.bootstrap_servers)
    files = _Files()
    context = None
    if kafka.auth_method == "ssl" or kafka.sasl_protocol == "sasl_ssl":
        context = files.tls(kafka)
    password = files.secret("sasl_password", kafka.sasl_password, kafka.sasl_password_file)
    client_secret = files.secret(
        "sasl_oauthbearer_client_secret",
        kafka.sasl_oauthbearer_client_secret,
        kafka.sasl_oauthbearer_client_secret_file,
    )
    if files.problems:
        raise ConfigurationError(files.problems)

    servers, protocol = kafka.bootstrap_servers, kafka.sasl_protocol.upper()
    match kafka.auth_method:
        case "ssl":
            return Connection(servers, "SSL", context)
        case "sasl_oauthbearer":
            tokens: Tokens = ClientCredentials(
                kafka.sasl_oauthbearer_token_endpoint_url,
                kafka.sasl_oauthbearer_client_id,
                client_secret,
                kafka.sasl_oauthbearer_scope,
                dict(kafka.sasl_oauthbearer_extensions),
                kafka.ssl_ca_file,
            )
            return Connection(servers, protocol, context, "OAUTHBEARER", tokens=tokens)
        case "aws_msk_iam":
            tokens = MskTokens(kafka.aws_region, kafka.aws_profile, kafka.aws_role_arn)
            return Connection(servers, protocol, context, "OAUTHBEARER", tokens=tokens)
        case method:
            mechanism = "PLAIN" if method == "sasl_plain" else kafka.sasl_scram_mechanism.upper()
            return Connection(servers, protocol, context, mechanism, kafka.sasl_username, password)


class _Files:
    """Reads the secrets and certificates in files, and collects the problems."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def secret(self, key: str, given: str, file: Path | None) -> str:
        """Return a secret: the given one, or the content of a file."""
        if file is None:
            return given
        try:
            text = (
                read_text(file, f"[KAFKA] {key}_file: {printable(str(file), 4096)}")
                .removesuffix("\n")
                .removesuffix("\r")
            )
        except ConfigurationError as error:
            self.problems += error.problems
            return ""
        if not text or not text.isprintable():
            self.problems.append(f"[KAFKA] {key}_file: {printable(str(file), 4096)}: expected the secret, on one line")
        return text

    def tls(self, kafka: KafkaSettings) -> ssl.SSLContext | None:
        """Return the TLS context: trusted CAs, and our certificate; None if there was a problem."""
        password = self.secret("ssl_key_password", kafka.ssl_key_password, kafka.ssl_key_password_file)
        named = {
            "ssl_ca_file": kafka.ssl_ca_file,
            "ssl_cert_file": kafka.ssl_cert_file,
            "ssl_key_file": kafka.ssl_key_file,
        }
        readable = [self._is_readable(key, file) for key, file in named.items() if file]
        if not all(readable):
            return None
        try:
            context = ssl.create_default_context(cafile=kafka.ssl_ca_file)
        except ssl.SSLError:
            self._add_problem(
                "ssl_ca_file", kafka.ssl_ca_file, "expected certificates in PEM (-----BEGIN CERTIFICATE-----)"
            )
            return None
        if kafka.ssl_cert_file:
            self._load_certificate(context, kafka.ssl_cert_file, kafka.ssl_key_file, password)
        return context

    def _load_certificate(self, context: ssl.SSLContext, cert_file: Path, key_file: Path | None, password: str) -> None:
        asked = []

        def answer() -> str:  # without it, OpenSSL would prompt at the terminal
            asked.append(True)
            return password

        try:
            context.load_cert_chain(cert_file, key_file, answer)
        except ssl.SSLError as error:
            if asked:
                why = (
                    "[KAFKA] ssl_key_password does not decrypt it"
                    if password
                    else "it is encrypted: set ssl_key_password"
                )
                self._add_problem("ssl_key_file" if key_file else "ssl_cert_file", key_file or cert_file, why)
            elif error.reason == "KEY_VALUES_MISMATCH":
                self._add_problem(
                    "ssl_key_file", key_file or cert_file, f"it is not the key of {printable(str(cert_file), 4096)}"
                )
            else:
                why = "expected a certificate and its private key in PEM (-----BEGIN …-----)"
                files = printable(f"{cert_file}, {key_file}" if key_file else f"{cert_file}", 4096)
                self.problems.append(f"[KAFKA] ssl_cert_file, ssl_key_file: {files}: {why}")

    def _is_readable(self, key: str, file: Path) -> bool:
        try:
            with file.open("rb") as content:
                content.read(1)
        except OSError as error:
            self._add_problem(key, file, f"cannot be read: {error.strerror or error}")
            return False
        return True

    def _add_problem(self, key: str, file: Path | None, why: str) -> None:
        self.problems.append(f"[KAFKA] {key}: {printable(str(file), 4096)}: {why}")
