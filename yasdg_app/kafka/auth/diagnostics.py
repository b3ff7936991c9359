"""Why a cluster that answers does not let us in, as one line that says what to do.

aiokafka takes a refusal for one of many reasons why a broker cannot be reached just now, and tries again for ever. So
whoever cannot get through asks here: we sign in once by hand, step by step, and see at which step it ends.
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

from yasdg_app.config.settings import shown
from yasdg_app.errors import YasdgError
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.tokens import MskTokens, TokenError

PATIENCE = 10.0  # seconds in which a broker that is there answers
AGAIN = 1.0  # seconds after which a broker that hung up is asked once more
LONGEST = 300  # characters of what somebody else says
MECHANISMS = {
    "PLAIN": "sasl_plain",
    "SCRAM-SHA-256": "sasl_scram",
    "SCRAM-SHA-512": "sasl_scram",
    "OAUTHBEARER": "sasl_oauthbearer",
    "AWS_MSK_IAM": "aws_msk_iam",
}
"""What a broker may offer, and the auth_method for it."""

EXPIRED, NOT_YET_VALID, OTHER_NAME, OTHER_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_…
UNSIGNED = (18, 19, 20, 21)  # by nobody whom we trust


class LoginRefusedError(YasdgError):
    """The cluster is there and does not let us in, and will not if asked again."""


class _HungUpError(LoginRefusedError):
    """The broker broke off in the middle of a login."""


async def check_login(connection: Connection) -> None:
    """Return if the cluster lets us in, or cannot be reached.

    Raises
    ------
    LoginRefusedError
        If none of the servers that answer lets us in, or one of the brokers that they name does not.
    TokenError
        If there is no token to sign in with now, while there may be later.
    """
    refused: LoginRefusedError | None = None
    asked = [(host, port) for host, port, _ in collect_hosts(connection.servers, randomize=False)]
    for address in asked:
        try:
            brokers = await _sign_in(connection, *address)
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
                        await _sign_in(connection, *broker)
            return
    if refused is not None:
        raise refused


async def _sign_in(connection: Connection, host: str, port: int) -> list[tuple[str, int]]:
    """Sign in at an address, twice if it hangs up: a broker that stops, or a balancer before it, does that as well."""
    try:
        return await _Login(connection, host, port).sign_in()
    except _HungUpError:
        await asyncio.sleep(AGAIN)
        return await _Login(connection, host, port).sign_in()


class _Login:
    """An attempt to sign in at one address."""

    def __init__(self, connection: Connection, host: str, port: int) -> None:
        self._with, self._host, self._port = connection, host, port
        self._tls = connection.ssl_context if connection.security_protocol.endswith("SSL") else None
        self._who = f"Apache Kafka at {shown(host)}:{port}"

    async def sign_in(self) -> list[tuple[str, int]]:
        """Return the brokers that the cluster has. Raises LoginRefusedError, or KafkaError and the like."""
        async with asyncio.timeout(PATIENCE):
            connection = await self._connected()
            try:
                if self._with.sasl_mechanism:
                    await self._authenticate(connection, self._with.sasl_mechanism)
                try:
                    metadata = await connection.send(MetadataRequest([]))
                except KafkaError as error:
                    self._look_for_alert(error)
                    if not self._with.sasl_mechanism and (offered := await self._offered()):
                        raise self._asks_for_login(offered) from error
                    raise
            finally:
                connection.close()
        return [(host, port) for _, host, port, *_ in metadata.brokers]

    async def _connected(self) -> AIOKafkaConnection:
        """Return a connection on which nobody has signed in yet."""
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
        connection = self._with
        return AIOKafkaConnection(
            self._host,
            self._port,
            client_id="yasdg",
            request_timeout_ms=int(PATIENCE * 1000),
            ssl_context=tls,
            security_protocol="PLAINTEXT" if tls is None else "SSL",  # we sign in ourselves
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
                f"{self._who} asks for no login on this port: name the port that does in [KAFKA] bootstrap_servers, or "
                f"set auth_method = {tls}."
            )
        if handshake.error_code == UnsupportedSaslMechanismError.errno:
            raise LoginRefusedError(
                f"{self._who} does not offer {mechanism} on this port, but {_listed(handshake.enabled_mechanisms)}: "
                f"{_advice(handshake.enabled_mechanisms)}."
            )
        try:
            if self._with.tokens:
                await self._with.tokens.renew()  # the one at hand may be why we were refused
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
            answer = await self._told(connection, step, mechanism)
        if mechanism == "OAUTHBEARER" and answer:
            # Then it is a no (RFC 7628, 3.2.3), which aiokafka 0.14 takes for a yes. It is told in full when we nod.
            await self._told(connection, b"\x01", mechanism)

    async def _next(self, steps: Any, answer: bytes | None, mechanism: str) -> bytes | None:
        """Return what is to be said next in a login; None if that was all."""
        try:
            step = await steps.step(answer)
        except (KeyError, ValueError) as error:  # of SCRAM, in which the server has to know the password, too
            raise LoginRefusedError(
                f"{self._who} does not show that it knows the password of {shown(self._with.username)} ({mechanism}): "
                "check that [KAFKA] bootstrap_servers names your cluster, and nobody's in its place."
            ) from error
        return None if step is None else bytes(step[0])

    async def _told(self, connection: AIOKafkaConnection, payload: bytes, mechanism: str) -> bytes:
        """Say a step of a login; return the answer."""
        try:
            response = await connection.send(SaslAuthenticateRequest(payload))
        except KafkaConnectionError as error:  # which a broker also does whose check of a login fails
            raise _HungUpError(self._refusal(mechanism, "it hung up")) from error
        if response.error_code:
            said = shown(response.error_message or "it does not say why", LONGEST)
            raise LoginRefusedError(self._refusal(mechanism, said))
        return bytes(response.sasl_auth_bytes or b"")

    def _refusal(self, mechanism: str, said: str) -> str:
        return f"{self._who} refuses {self._login(mechanism)} ({said})."

    def _login(self, mechanism: str) -> str:
        tokens = self._with.tokens
        if tokens is None:
            user = shown(self._with.username)
            return f"the name or the password of {user} ({mechanism}): check [KAFKA] sasl_username and sasl_password"
        if isinstance(tokens, MskTokens):
            return f"{tokens.said_of}: check [KAFKA] aws_region, and the policies of whoever that is"
        return (
            f"the token of {tokens.said_of}: check [KAFKA] sasl_oauthbearer_scope, and what the cluster expects of one"
        )

    async def _offered(self) -> list[str]:
        """Return by which mechanisms one signs in on this port; none if it asks for no login, or does not say."""
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
            await connection.connect()  # which asks for the versions, as one may before one signs in
        except (KafkaError, OSError):
            return False
        connection.close()
        return True

    async def _speaks_tls(self) -> bool:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is said that anybody may not hear
        try:
            _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")  # it understood us, and asks for a certificate
        except OSError:
            return False
        writer.close()
        return True

    # --- In words

    def _asks_for_login(self, offered: list[str]) -> LoginRefusedError:
        return LoginRefusedError(f"{self._who} asks for a login on this port ({_listed(offered)}): {_advice(offered)}.")

    def _wants_tls(self) -> LoginRefusedError:
        setting = (
            "sasl_protocol = sasl_ssl"
            if self._with.sasl_mechanism
            else "auth_method to ssl, or to the login it asks for"
        )
        return LoginRefusedError(f"{self._who} speaks TLS on this port, and we do not: set [KAFKA] {setting}.")

    def _wants_no_tls(self) -> LoginRefusedError:
        setting = "sasl_protocol = sasl_plaintext" if self._with.sasl_mechanism else "auth_method = plaintext"
        return LoginRefusedError(
            f"{self._who} speaks no TLS on this port: name the port that does in [KAFKA] bootstrap_servers, or set "
            f"{setting} if anybody on the way may read along."
        )

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> LoginRefusedError:
        said = shown(error.verify_message, LONGEST).rstrip(".")
        if error.verify_code in UNSIGNED:
            what = "is signed by nobody whom we trust", "name the certificate of its CA in [KAFKA] ssl_ca_file"
        elif error.verify_code in (OTHER_NAME, OTHER_ADDRESS):
            how = "in [KAFKA] bootstrap_servers, and where it tells clients of its brokers (advertised.listeners)"
            what = "is for another name", f"call it by a name that is in there, {how}"
        elif error.verify_code in (EXPIRED, NOT_YET_VALID):
            what = "is out of date", "whoever runs the cluster has to renew it, or this machine's clock is wrong"
        else:
            what = "is not to be trusted", "ask whoever runs the cluster"
        return LoginRefusedError(f"The certificate of {self._who} {what[0]} ({said}): {what[1]}.")

    def _look_for_alert(self, error: BaseException) -> None:
        """Raise LoginRefusedError if the broker broke off TLS with a word about our certificate, or the lack of one."""
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
            f"{self._who} does not take our certificate, or wants one ({said}): check [KAFKA] ssl_cert_file, and that "
            "it has not expired and is signed by a CA that the cluster trusts."
        ) from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(shown(name) for name in sorted(names)) or "nothing"


def _advice(offered: Iterable[str]) -> str:
    """Return what to do about mechanisms that a broker offers."""
    methods = dict.fromkeys(MECHANISMS[each] for each in offered if each in MECHANISMS)
    if "aws_msk_iam" in methods:
        methods.pop("sasl_oauthbearer", None)  # by which Amazon MSK takes the same tokens
    if not methods:
        return "yasdg has no auth_method for that, so name another port"
    scram = " and sasl_scram_mechanism" if "sasl_scram" in methods else ""
    return f"set [KAFKA] auth_method{scram} to what it offers ({_listed(methods)}), or name another port"
