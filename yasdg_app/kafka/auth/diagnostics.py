"""Why a cluster that answers refuses the login, in one line that says what to do.

To aiokafka a refused login is one of many reasons why a broker cannot be reached, and it retries forever. So a client
that cannot connect calls `check_login`, which logs in once, step by step, and reports the step that fails.
"""

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import IllegalSaslStateError, KafkaConnectionError, KafkaError, UnsupportedSaslMechanismError
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.tokens import MskTokens, TokenError
from yasdg_app.text import printable

ANSWER_SECONDS = 10.0  # in which a broker that can be reached answers
RECONNECT_SECONDS = 1.0  # after which a broker that closed the connection is tried once more
MAX_QUOTED_CHARACTERS = 300  # of a text from the other side
MECHANISMS = {
    "PLAIN": "sasl_plain",
    "SCRAM-SHA-256": "sasl_scram",
    "SCRAM-SHA-512": "sasl_scram",
    "OAUTHBEARER": "sasl_oauthbearer",
    "AWS_MSK_IAM": "aws_msk_iam",
}
"""The auth_method for each mechanism that a broker may offer."""

EXPIRED, NOT_YET_VALID, OTHER_NAME, OTHER_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_…
UNTRUSTED = (18, 19, 20, 21)  # not signed by a CA that we trust


class LoginRefusedError(YasdgError):
    """The cluster can be reached and refuses the login, and would refuse it again."""


class _HungUpError(LoginRefusedError):
    """The broker closed the connection during a login."""


async def check_login(connection: Connection) -> None:
    """Return if the cluster accepts the login, or cannot be reached.

    Raises
    ------
    LoginRefusedError
        If all servers that answer refuse the login, or one of the brokers that they name does.
    TokenError
        If there is no token for a login now, but may be later.
    """
    refused: LoginRefusedError | None = None
    asked = [(host, port) for host, port, _ in collect_hosts(connection.servers, randomize=False)]
    for address in asked:
        try:
            brokers = await _log_in(connection, *address)
        except LoginRefusedError as error:
            refused = refused or error
        except TokenError:
            raise
        except (KafkaError, OSError, TimeoutError):
            continue
        else:
            for broker in brokers:
                if broker != address:
                    with suppress(KafkaError, OSError, TimeoutError):
                        await _log_in(connection, *broker)
            return
    if refused is not None:
        raise refused


async def _log_in(connection: Connection, host: str, port: int) -> list[tuple[str, int]]:
    """Log in at an address; again if it closes the connection, as brokers that stop and load balancers also do."""
    try:
        return await _Login(connection, host, port).log_in()
    except _HungUpError:
        await asyncio.sleep(RECONNECT_SECONDS)
        return await _Login(connection, host, port).log_in()


class _Login:
    """A login at one address."""

    def __init__(self, connection: Connection, host: str, port: int) -> None:
        self._settings, self._host, self._port = connection, host, port
        self._tls = connection.ssl_context if connection.security_protocol.endswith("SSL") else None
        self._who = f"Apache Kafka at {printable(host)}:{port}"

    async def log_in(self) -> list[tuple[str, int]]:
        """Return the addresses of the cluster's brokers. Raises LoginRefusedError, TokenError, KafkaError, OSError."""
        async with asyncio.timeout(ANSWER_SECONDS):
            connection = await self._connected()
            try:
                if self._settings.sasl_mechanism:
                    await self._authenticate(connection, self._settings.sasl_mechanism)
                try:
                    metadata = await connection.send(MetadataRequest([]))
                except KafkaError as error:
                    self._look_for_alert(error)
                    if not self._settings.sasl_mechanism and (offered := await self._offered()):
                        raise self._asks_for_login(offered) from error
                    raise
            finally:
                connection.close()
        return [(host, port) for _, host, port, *_ in metadata.brokers]

    async def _connected(self) -> AIOKafkaConnection:
        """Return a connection without a login."""
        connection = self._connection(self._tls)
        try:
            await connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error) from error
        except ConnectionRefusedError:
            raise
        except (KafkaError, OSError) as error:
            self._look_for_alert(error)
            if self._tls is None and await self._speaks_tls():
                raise self._wants_tls() from error
            if self._tls is not None and await self._speaks_plain():
                raise self._wants_no_tls() from error
            raise
        return connection

    def _connection(self, tls: ssl.SSLContext | None) -> AIOKafkaConnection:
        connection = self._settings
        return AIOKafkaConnection(
            self._host,
            self._port,
            client_id="yasdg",
            request_timeout_ms=int(ANSWER_SECONDS * 1000),
            ssl_context=tls,
            security_protocol="PLAINTEXT" if tls is None else "SSL",  # the login is done here
            sasl_mechanism=connection.sasl_mechanism,
            sasl_plain_username=connection.username,
            sasl_plain_password=connection.password,
            sasl_oauth_token_provider=connection.tokens,
        )

    async def _authenticate(self, connection: AIOKafkaConnection, mechanism: str) -> None:
        handshake = await connection.send(SaslHandShakeRequest(mechanism))
        if handshake.error_code == IllegalSaslStateError.errno:
            tls = "ssl" if self._tls else "plaintext"
            raise LoginRefusedError(
                f"{self._who} requires no login on this port: name the port that does in [KAFKA] bootstrap_servers, or "
                f"set auth_method = {tls}."
            )
        if handshake.error_code == UnsupportedSaslMechanismError.errno:
            raise LoginRefusedError(
                f"{self._who} does not offer {mechanism} on this port, but {_listed(handshake.enabled_mechanisms)}: "
                f"{_advice(handshake.enabled_mechanisms)}."
            )
        try:
            if self._settings.tokens:
                await self._settings.tokens.renew()  # the present one may be the reason for the refusal
        except TokenError as error:
            if error.refused:
                raise LoginRefusedError(f"{error}.") from error
            raise
        match mechanism:
            case "PLAIN":
                steps = connection.authenticator_plain()
            case "OAUTHBEARER":
                steps = connection.authenticator_oauth()
            case _:
                steps = connection.authenticator_scram()
        answer = None
        while (step := await self._next(steps, answer, mechanism)) is not None:
            answer = await self._exchange(connection, step, mechanism)
        if mechanism == "OAUTHBEARER" and answer:
            # A refusal (RFC 7628, 3.2.3), which aiokafka 0.14 takes for success; the next answer says why.
            await self._exchange(connection, b"\x01", mechanism)

    async def _next(self, steps: Any, answer: bytes | None, mechanism: str) -> bytes | None:
        """Return the next message of a login; None if it is complete."""
        try:
            step = await steps.step(answer)
        except (KeyError, ValueError) as error:  # of SCRAM, in which the server proves that it knows the password
            raise LoginRefusedError(
                f"{self._who} does not prove that it knows the password of {printable(self._settings.username)} "
                f"({mechanism}): check that [KAFKA] bootstrap_servers names your cluster, and not an impostor."
            ) from error
        return None if step is None else bytes(step[0])

    async def _exchange(self, connection: AIOKafkaConnection, payload: bytes, mechanism: str) -> bytes:
        """Send a message of a login; return the answer."""
        try:
            response = await connection.send(SaslAuthenticateRequest(payload))
        except KafkaConnectionError as error:  # as brokers also do when their check of a login fails
            raise _HungUpError(self._refusal(mechanism, "it closed the connection")) from error
        if response.error_code:
            said = printable(response.error_message or "no reason given", MAX_QUOTED_CHARACTERS)
            raise LoginRefusedError(self._refusal(mechanism, said))
        return bytes(response.sasl_auth_bytes or b"")

    def _refusal(self, mechanism: str, said: str) -> str:
        return f"{self._who} rejects {self._login(mechanism)} ({said})."

    def _login(self, mechanism: str) -> str:
        tokens = self._settings.tokens
        if tokens is None:
            user = printable(self._settings.username)
            return f"the name or the password of {user} ({mechanism}): check [KAFKA] sasl_username and sasl_password"
        if isinstance(tokens, MskTokens):
            return f"{tokens.principal}: check [KAFKA] aws_region, and the policies of this principal"
        return f"the token of {tokens.principal}: check [KAFKA] sasl_oauthbearer_scope, and what the cluster requires"

    async def _offered(self) -> list[str]:
        """Return the mechanisms for a login on this port; none if it requires no login, or does not say."""
        connection = self._connection(self._tls)
        try:
            await connection.connect()
            return list((await connection.send(SaslHandShakeRequest("PLAIN"))).enabled_mechanisms)
        except (KafkaError, OSError):
            return []
        finally:
            connection.close()

    async def _speaks_plain(self) -> bool:
        connection = self._connection(None)
        try:
            await connection.connect()  # this requests the versions, which is allowed before a login
        except (KafkaError, OSError):
            return False
        connection.close()
        return True

    async def _speaks_tls(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing secret is sent
        try:
            _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")  # it uses TLS, and requires a certificate
        except OSError:
            return False
        writer.close()
        return True

    # --- Messages

    def _asks_for_login(self, offered: list[str]) -> LoginRefusedError:
        return LoginRefusedError(f"{self._who} requires a login on this port ({_listed(offered)}): {_advice(offered)}.")

    def _wants_tls(self) -> LoginRefusedError:
        setting = (
            "sasl_protocol = sasl_ssl"
            if self._settings.sasl_mechanism
            else "auth_method to ssl, or to the login that it requires"
        )
        return LoginRefusedError(
            f"{self._who} expects TLS on this port, and the configuration has none: set [KAFKA] {setting}."
        )

    def _wants_no_tls(self) -> LoginRefusedError:
        setting = "sasl_protocol = sasl_plaintext" if self._settings.sasl_mechanism else "auth_method = plaintext"
        return LoginRefusedError(
            f"{self._who} does not use TLS on this port: name the port that does in [KAFKA] bootstrap_servers, or set "
            f"{setting} if others on the network may read the traffic."
        )

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> LoginRefusedError:
        said = printable(error.verify_message, MAX_QUOTED_CHARACTERS).rstrip(".")
        if error.verify_code in UNTRUSTED:
            what = "is not signed by a trusted CA", "name the certificate of its CA in [KAFKA] ssl_ca_file"
        elif error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
            how = "in [KAFKA] bootstrap_servers, and in the brokers' advertised.listeners"
            what = "is for another name", f"use a name that it contains, {how}"
        elif error.verify_code in (EXPIRED, NOT_YET_VALID):
            what = "is not valid at this time", "it has to be renewed on the cluster, or this machine's clock is wrong"
        else:
            what = "is not trusted", "ask the administrators of the cluster"
        return LoginRefusedError(f"The certificate of {self._who} {what[0]} ({said}): {what[1]}.")

    def _look_for_alert(self, error: BaseException) -> None:
        """Raise LoginRefusedError if the broker ended TLS with an alert about our certificate, or the lack of one."""
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ssl.SSLError):
            cause = cause.__cause__
        reason = (cause.reason or "") if isinstance(cause, ssl.SSLError) else ""
        if "ALERT" not in reason or not any(
            word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
        ):
            return
        said = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
        raise LoginRefusedError(
            f"{self._who} rejects our certificate, or requires one ({said}): check [KAFKA] ssl_cert_file, and that "
            "it has not expired and is signed by a CA that the cluster trusts."
        ) from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(printable(name) for name in sorted(names)) or "nothing"


def _advice(offered: Iterable[str]) -> str:
    """Return what to do, by the mechanisms that a broker offers."""
    methods = dict.fromkeys(MECHANISMS[each] for each in offered if each in MECHANISMS)
    if "aws_msk_iam" in methods:
        methods.pop("sasl_oauthbearer", None)  # Amazon MSK accepts the same tokens under both names
    if not methods:
        return "yasdg has no auth_method for that, so name another port"
    scram = " and sasl_scram_mechanism" if "sasl_scram" in methods else ""
    return f"set [KAFKA] auth_method{scram} to what it offers ({_listed(methods)}), or name another port"
