"""A real Apache Kafka that requires authentication, with each supported method; and an endpoint that issues tokens."""

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from yasdg_app.kafka.embedded.jars import JarCache
from yasdg_app.kafka.embedded.java import java_command
from yasdg_app.kafka.embedded.node import _die_with_parent, cluster_id, free_port

HOST = "localhost"  # host name in the certificates; not 127.0.0.1
PLAIN, SCRAM, CHANGING, GUEST = "till", "till, =1", "changing", "guest"
"""Users: one for PLAIN; and for SCRAM, one whose password a test changes, and one with restricted rights."""
PASSWORD = "pass; word %s =,'#ß"
"""The password of all of them, with characters that are special somewhere."""
CLIENT, SECRET = "shop:client", "se/cret+%"
AUDIENCE, SCOPE = "kafka", "sell"
SESSION = 4000  # milliseconds after which a client with SCRAM-SHA-256 or a token has to authenticate again
LISTENERS = {
    "plaintext": "PLAINTEXT",
    "ssl": "SSL",
    "sasl_ssl": "SASL_SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "scram_only": "SASL_SSL",
    "expired": "SSL",
    "misnamed": "SSL",
    "misdirecting": "SSL",
}
"""The listeners by name, and their protocol. The last one redirects clients to an address without a certificate."""

CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=kafka
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=1
num.io.threads=4
ssl.keystore.type=PEM
ssl.keystore.location=server.pem
ssl.truststore.type=PEM
ssl.truststore.location=ca.pem
listener.name.ssl.ssl.client.auth=required
listener.name.expired.ssl.keystore.location=expired.pem
listener.name.misnamed.ssl.keystore.location=misnamed.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
"""

LOGGED = """
logger.network.name = kafka.network.Processor
logger.network.level = debug
logger.start.name = kafka.server.KafkaRaftServer
logger.start.level = info
"""
"""What it logs besides warnings: connections that it closes, and that it has started."""
STARTED, TAKEN = "Kafka Server started", "Address already in use"
TRIES = 4


def different_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


class Secured:
    """The broker, with a folder that also holds the certificates: `ca.pem`, `client.pem` and others by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._make_certificates()

    def at(self, listener: str, host: str = HOST) -> str:
        return f"{host}:{self.ports[listener]}"

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def start(self) -> None:
        JarCache().fetch()
        jwks = self.folder / "jwks.json"
        jwks.write_text(json.dumps({"keys": [self._public_key()]}))
        tools = (files("yasdg_app.kafka.embedded") / "log4j2-tools.properties").read_text()
        (self.folder / "log4j2.properties").write_text(tools + LOGGED)
        self._configure(jwks)
        tool = ("kafka.tools.StorageTool", "format", "--config", "server.properties", "--cluster-id", cluster_id())
        self._run(*tool).wait()
        tries = 1
        while not self._comes_up(jwks):
            # Its ports were free, and it binds them seconds later: another process may have taken one.
            assert TAKEN in self.said, f"The broker ended. It said:\n{self.said}"
            assert tries < TRIES, f"The broker found no free ports {TRIES} times. It said:\n{self.said}"
            tries += 1
            self.log.unlink()
            self._configure(jwks)
        for user in (SCRAM, CHANGING, GUEST):
            self.let_in(user, PASSWORD)

    def _comes_up(self, jwks: Path) -> bool:
        """Start it; return whether it listens on all of its ports, or False if it ended."""
        allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed"
        options = (f"{allowed}.urls={jwks.as_uri()}", f"{allowed}.files={jwks}")
        self._process = self._run("kafka.Kafka", "server.properties", options=options)
        deadline = time.monotonic() + 60
        while STARTED not in self.said:  # another process may answer on the ports
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"The broker does not start. It said:\n{self.said}"
            time.sleep(0.1)
        return True

    def _configure(self, jwks: Path) -> None:
        controller, *ports = different_ports(1 + len(LISTENERS))
        self.ports = dict(zip(LISTENERS, ports, strict=True))
        listeners = "".join(f"{key}={value}\n" for key, value in self._listeners(jwks, controller))
        # In the notation that Java reads:
        (self.folder / "server.properties").write_text(CONFIGURATION + listeners, "latin-1")

    def let_in(self, user: str, password: str) -> None:
        """Set the password of a SCRAM user."""
        admin = AdminClient({"bootstrap.servers": self.at("plaintext")})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            told = UserScramCredentialUpsertion(user, ScramCredentialInfo(mechanism, 4096), password.encode())
            for answer in admin.alter_user_scram_credentials([told]).values():
                answer.result(30)

    def forbid(self, user: str, operation: AclOperation, topics: str) -> None:
        """Deny a user an operation on the topics with a prefix."""
        admin = AdminClient({"bootstrap.servers": self.at("plaintext")})
        of = (ResourceType.TOPIC, topics, ResourcePatternType.PREFIXED, f"User:{user}", "*", operation)
        for answer in admin.create_acls([AclBinding(*of, AclPermissionType.DENY)]).values():
            answer.result(30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "broker.out"

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")[-20_000:]

    @property
    def broken_off(self) -> int:
        """Return the number of connections it has closed because their authentication had expired."""
        return self.log.read_text(errors="replace").count("Disconnecting expired channel")

    def token(self, **claims: Any) -> str:
        """Return a token that the broker accepts, unless `claims` make it invalid."""
        now = int(time.time())
        own = {"sub": "shop", "aud": AUDIENCE, "scope": SCOPE, "iat": now, "exp": now + 300}
        head, body = (_b64(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "1"}, own | claims))
        signature = self._key.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{head}.{body}.{_b64(signature)}"

    def _run(self, main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> "subprocess.Popen[bytes]":
        options = ("-Xmx256m", "-Dlog4j2.configurationFile=log4j2.properties", *options)
        with self.log.open("ab") as output:
            return subprocess.Popen(
                java_command(main_class, *arguments, options=options),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )

    def _listeners(self, jwks: Path, controller: int) -> Iterator[tuple[str, str]]:
        addresses = [f"{name.upper()}://{HOST}:{port}" for name, port in self.ports.items()]
        yield "listeners", ",".join([*addresses, f"CONTROLLER://{HOST}:{controller}"])
        yield "advertised.listeners", ",".join(addresses).replace(f"MISDIRECTING://{HOST}", "MISDIRECTING://127.0.0.1")
        protocols = [f"{name.upper()}:{protocol}" for name, protocol in LISTENERS.items()]
        yield "listener.security.protocol.map", ",".join([*protocols, "CONTROLLER:PLAINTEXT"])
        yield "controller.quorum.voters", f"1@{HOST}:{controller}"
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        oauthbearer = "org.apache.kafka.common.security.oauthbearer"
        user = f'user_{PLAIN}="{PASSWORD}"'
        for listener in ("sasl_ssl", "sasl_plaintext", "scram_only"):
            own = f"listener.name.{listener}"
            mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
            yield (
                f"{own}.sasl.enabled.mechanisms",
                "SCRAM-SHA-512" if listener == "scram_only" else ",".join(mechanisms),
            )
            yield f"{own}.plain.sasl.jaas.config", f"{plain} {user};"
            for bits in (256, 512):
                yield f"{own}.scram-sha-{bits}.sasl.jaas.config", f"{scram};"
            yield f"{own}.oauthbearer.sasl.jaas.config", f"{oauthbearer}.OAuthBearerLoginModule required;"
            handler = f"{oauthbearer}.OAuthBearerValidatorCallbackHandler"
            yield f"{own}.oauthbearer.sasl.server.callback.handler.class", handler
            for mechanism in ("scram-sha-256", "oauthbearer"):
                yield f"{own}.{mechanism}.connections.max.reauth.ms", str(SESSION)
            yield f"{own}.oauthbearer.sasl.oauthbearer.expected.audience", AUDIENCE
        # By default Kafka 4.1.0 silently checks neither signature nor audience.
        yield "sasl.oauthbearer.jwt.validator.class", f"{oauthbearer}.BrokerJwtValidator"
        yield "sasl.oauthbearer.jwks.endpoint.url", jwks.as_uri()
        yield "sasl.oauthbearer.expected.audience", AUDIENCE

    def _public_key(self) -> Mapping[str, str]:
        numbers = self._key.public_key().public_numbers()
        n, e = (_b64(number.to_bytes((number.bit_length() + 7) // 8)) for number in (numbers.n, numbers.e))
        return {"kty": "RSA", "kid": "1", "use": "sig", "alg": "RS256", "n": n, "e": e}

    def _make_certificates(self) -> None:
        ours, foreign = trustme.CA(), trustme.CA()
        ours.cert_pem.write_to_path(self.folder / "ca.pem")
        foreign.cert_pem.write_to_path(self.folder / "foreign-ca.pem")
        yesterday = datetime.now(UTC) - timedelta(days=1)
        made = {
            "server": ours.issue_cert(HOST),
            "expired": ours.issue_cert(HOST, not_after=yesterday),
            "misnamed": ours.issue_cert("kafka.example"),
            "client": ours.issue_cert("shop@example.com"),
            "client-expired": ours.issue_cert("shop@example.com", not_after=yesterday),
            "client-foreign": foreign.issue_cert("shop@example.com"),
        }
        for name, certificate in made.items():
            chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
            key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
            # Java reads no other format.
            form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
            (self.folder / f"{name}.pem").write_bytes(key.private_bytes(*form, serialization.NoEncryption()) + chain)
            if name == "client":
                (self.folder / "client-certificate.pem").write_bytes(chain)
                locked = serialization.BestAvailableEncryption(PASSWORD.encode())
                (self.folder / "client-key.pem").write_bytes(key.private_bytes(*form, locked))


class TokenEndpoint:
    """Issues tokens for client credentials over TLS at `url`; `url` + /down and similar paths act as they are named."""

    def __init__(self, broker: Secured) -> None:
        self._broker, self._port = broker, free_port()
        self.url = f"https://{HOST}:{self._port}"
        self.asked: list[dict[str, list[str]]] = []
        """The forms that it received."""

    @contextmanager
    def serving(self) -> Iterator["TokenEndpoint"]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                endpoint.asked.append(form)
                status, body = endpoint.answer(self.path, self.headers["Authorization"] or "", form)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._broker.path("server.pem"))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, path: str, authorization: str, form: Mapping[str, list[str]]) -> tuple[int, str]:
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        if tuple(unquote_plus(part) for part in given.split(":")) != (CLIENT, SECRET):
            return 401, json.dumps({"error": "invalid_client", "error_description": f"It is not {unquote_plus(given)}"})
        if form["grant_type"] != ["client_credentials"]:
            return 400, json.dumps({"error": "unsupported_grant_type"})
        match path:
            case "/down":
                return 503, "down"
            case "/page":
                return 200, "<html>Sign in</html>"
            case "/list":
                return 200, "[]"
            case "/elsewhere":
                return 302, ""
            case "/untold":
                return 200, json.dumps({"access_token": self._broker.token(), "expires_in": None})
        token = self._broker.token() if form.get("scope") == [SCOPE] else self._broker.token(aud="another")
        return 200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 300})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
