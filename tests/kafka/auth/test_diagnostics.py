"""What is said of brokers that no Apache Kafka here can be made to be: one that restarts, one that is not ours, MSK.

Whatever a real one says is in `tests/integration/test_authentication.py`.
"""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.protocol.admin import (
    ApiVersionRequest_v0,
    ApiVersionResponse_v0,
    SaslAuthenticateRequest_v0,
    SaslAuthenticateResponse_v0,
    SaslHandShakeRequest_v1,
    SaslHandShakeResponse_v1,
)
from aiokafka.protocol.metadata import MetadataRequest_v0, MetadataResponse_v0

from yasdg_app.kafka.auth import diagnostics as refusals
from yasdg_app.kafka.auth.connection import Connection
from yasdg_app.kafka.auth.diagnostics import LoginRefusedError, check_login
from yasdg_app.kafka.client import administration

Answer = Callable[[bytes], bytes | None]
"""What a broker answers to a step of a login; None: it hangs up."""

REQUESTS = (ApiVersionRequest_v0, MetadataRequest_v0, SaslHandShakeRequest_v1, SaslAuthenticateRequest_v0)


class StandIn:
    """A broker at `servers` that knows of Kafka's protocol what a login needs."""

    def __init__(self, answer: Answer, offers: tuple[str, ...]) -> None:
        self.servers, self.logins = "", 0
        self.brokers: list[tuple[str, int]] = []
        """Those that it names."""
        self._answer, self._offers = answer, offers

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.servers.partition(":")
        return host, int(port)

    def connection(self, mechanism: str | None = "PLAIN") -> Connection:
        if mechanism is None:
            return Connection(self.servers)
        return Connection(self.servers, "SASL_PLAINTEXT", None, mechanism, "till", "hunter2")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                key, _, number, length = struct.unpack(">hhih", request[:10])
                answer = self._answered(key, request[10 + length :])
                if answer is None:
                    return
                answer = struct.pack(">i", number) + answer
                writer.write(struct.pack(">i", len(answer)) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answered(self, key: int, body: bytes) -> bytes | None:
        response: Any
        if key == ApiVersionRequest_v0.API_KEY:
            versions = [(each.API_KEY, each.API_VERSION, each.API_VERSION) for each in REQUESTS]
            response = ApiVersionResponse_v0(0, versions)
        elif key == SaslHandShakeRequest_v1.API_KEY:
            self.logins += 1
            known = SaslHandShakeRequest_v1.decode(body).mechanism in self._offers
            response = SaslHandShakeResponse_v1(0 if known else 33, list(self._offers))
        elif key == SaslAuthenticateRequest_v0.API_KEY:
            said = self._answer(SaslAuthenticateRequest_v0.decode(body).sasl_auth_bytes)
            if said is None:
                return None
            response = SaslAuthenticateResponse_v0(0, None, said)
        elif self.logins:
            response = MetadataResponse_v0([(node, *broker) for node, broker in enumerate(self.brokers)], [])
        else:
            return None
        return bytes(response.encode())


@asynccontextmanager
async def stand_in(answer: Answer, *offers: str) -> AsyncIterator[StandIn]:
    broker = StandIn(answer, offers or ("PLAIN",))
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.servers = "{}:{}".format(*server.sockets[0].getsockname())
    broker.brokers = [broker.address]
    try:
        yield broker
    finally:
        server.close()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nobody wait for a broker that restarts."""
    monkeypatch.setattr(refusals, "RECONNECT_SECONDS", 0.01)


def lets_in(_: bytes) -> bytes:
    return b""


def hangs_up(_: bytes) -> None:
    return None


def hangs_up_once() -> Answer:
    answers: Iterator[bytes | None] = iter([None])
    return lambda _: next(answers, b"")


# --- Who hangs up


async def test_a_broker_that_hangs_up_once_is_one_that_restarts() -> None:
    async with stand_in(hangs_up_once()) as broker:
        await check_login(broker.connection())
        assert broker.logins == 2


async def test_a_broker_that_hangs_up_and_is_gone_is_one_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "RECONNECT_SECONDS", 0.3)
    async with stand_in(hangs_up) as broker:
        login = asyncio.create_task(check_login(broker.connection()))
        while not broker.logins:
            await asyncio.sleep(0.01)
    await login


async def test_a_broker_that_hangs_up_again_refuses() -> None:
    async with stand_in(hangs_up) as broker:
        with pytest.raises(LoginRefusedError, match=r"rejects the name or the password of till \(PLAIN\): .*it closed"):
            await check_login(broker.connection())
        assert broker.logins == 2


# --- Who has to let us in


async def test_a_server_that_refuses_does_not_count_where_another_lets_us_in_and_does_not_name_it() -> None:
    async with stand_in(hangs_up) as other, stand_in(lets_in) as broker:
        await check_login(Connection(f"{other.servers},{broker.servers}", "SASL_PLAINTEXT", None, "PLAIN", "till", "x"))


@pytest.mark.parametrize("configured", [True, False])
async def test_a_broker_that_is_named_has_to_let_us_in_too(configured: bool) -> None:
    async with stand_in(hangs_up) as other, stand_in(lets_in) as broker:
        broker.brokers = [other.address, broker.address]
        servers = f"{broker.servers},{other.servers}" if configured else broker.servers
        with pytest.raises(LoginRefusedError, match=f"^Apache Kafka at {other.servers} rejects"):
            await check_login(Connection(servers, "SASL_PLAINTEXT", None, "PLAIN", "till", "hunter2"))


# --- Who does not know the password


def another_nonce(said: bytes) -> bytes:
    return b"r=another,s=c2FsdA==,i=4096"


def wrong_signature(said: bytes) -> bytes:
    if said.startswith(b"n,,"):
        return b"r=" + said.partition(b",r=")[2] + b"here,s=c2FsdA==,i=4096"
    return b"v=" + base64.b64encode(b"wrong")


def no_signature(said: bytes) -> bytes:
    return wrong_signature(said) if said.startswith(b"n,,") else b"e=other-error"


@pytest.mark.parametrize("answer", [another_nonce, wrong_signature, no_signature])
async def test_a_server_that_does_not_know_the_password_is_not_the_cluster(answer: Answer) -> None:
    async with stand_in(answer, "SCRAM-SHA-512") as broker:
        with pytest.raises(LoginRefusedError) as caught:
            async with administration(broker.connection("SCRAM-SHA-512")):
                pass
    assert str(caught.value) == (
        f"Apache Kafka at {broker.servers} does not prove that it knows the password of till (SCRAM-SHA-512): check "
        "that [KAFKA] bootstrap_servers names your cluster, and not an impostor."
    )


# --- What is offered


@pytest.mark.parametrize(
    ("offers", "advice"),
    [
        (("AWS_MSK_IAM", "OAUTHBEARER"), "set [KAFKA] auth_method to what it offers (aws_msk_iam), or name another"),
        (("OAUTHBEARER",), "set [KAFKA] auth_method to what it offers (sasl_oauthbearer), or name another port."),
        (("GSSAPI",), "yasdg has no auth_method for that, so name another port."),
    ],
)
async def test_of_what_is_offered_the_right_setting_is_told(offers: tuple[str, ...], advice: str) -> None:
    async with stand_in(lets_in, *offers) as broker:
        for mechanism, said in (("PLAIN", "does not offer PLAIN on this port"), (None, "requires a login on this")):
            broker.logins = 0
            with pytest.raises(LoginRefusedError) as caught:
                await check_login(broker.connection(mechanism))
            assert said in str(caught.value)
            assert advice in str(caught.value)
