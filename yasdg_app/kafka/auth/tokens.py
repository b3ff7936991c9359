"""Tokens for SASL OAUTHBEARER: from an OAuth token endpoint, or signed for Amazon MSK.

A token is requested when a connection is made and the last one is about to expire. Must not know the cluster.
"""

import abc
import asyncio
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlsplit

import aiohttp
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from yasdg_app.errors import ConfigurationError
from yasdg_app.text import printable

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=8)  # seconds
RENEW_BEFORE_SECONDS = 60.0  # a token expires; at most a fifth of its lifetime
DEFAULT_LIFETIME_SECONDS = 60.0  # of a token whose endpoint does not say
RETRIABLE_STATUSES = (408, 425, 429)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class TokenError(KafkaConnectionError):
    """There is no token. To aiokafka it is a connection that cannot be made now.

    Attributes
    ----------
    refused
        Whether a retry is useless: the endpoint refuses, or is not trusted.
    """

    def __init__(self, why: str, *, refused: bool) -> None:
        super().__init__(why)
        self.refused = refused

    def __str__(self) -> str:
        return str(self.args[0])


class Tokens(AbstractTokenProvider):
    """The tokens of a principal.

    Faust runs its consumer in a thread of its own, so this is used from two event loops. There is no lock: two requests
    at the same time get a token each.
    """

    principal: str
    """Whose tokens they are, for messages."""

    def __init__(self) -> None:
        self._cached = ("", float("-inf"))  # a token, and when to replace it, by time.monotonic()

    async def token(self) -> str:
        """Return a token that is not about to expire. Raises TokenError."""
        token, until = self._cached
        return token if time.monotonic() < until else await self.renew()

    async def renew(self) -> str:
        """Request a new token and return it. Raises TokenError."""
        token, seconds = await self._fetch()
        self._cached = (token, time.monotonic() + seconds - min(RENEW_BEFORE_SECONDS, seconds / 5))
        return token

    def extensions(self) -> Mapping[str, str]:
        """Return the SASL extensions that are sent with the token."""
        return {}

    @abc.abstractmethod
    async def _fetch(self) -> tuple[str, float]:
        """Return a token and its lifetime in seconds. Raises TokenError."""


class ClientCredentials(Tokens):
    """Tokens that an OAuth endpoint issues for a client's id and secret (RFC 6749, 4.4)."""

    def __init__(
        self, url: str, client_id: str, secret: str, scope: str, extensions: Mapping[str, str], ca_file: Path | None
    ) -> None:
        super().__init__()
        self.principal = f"the client {printable(client_id)} of {_without_query(url)}"
        self._url, self._id, self._secret, self._scope, self._extensions = url, client_id, secret, scope, extensions
        # The endpoint may be another organisation's than the cluster, so the CAs of this machine are trusted as well.
        self._context = ssl.create_default_context()
        if ca_file is not None:
            self._context.load_verify_locations(ca_file)

    def extensions(self) -> Mapping[str, str]:
        return self._extensions

    async def _fetch(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        try:
            async with (
                aiohttp.ClientSession(timeout=REQUEST_TIMEOUT, trust_env=True, middlewares=[self._sign]) as session,
                session.post(
                    self._url,
                    data=form,
                    ssl=self._context,
                    allow_redirects=False,
                    headers={"Accept": "application/json"},
                ) as response,
            ):
                status, body = response.status, await _json(response)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            reason = getattr(getattr(error, "certificate_error", None), "verify_message", "it does not use TLS")
            raise self._error(
                f"is not trusted ({reason}). Check the address, or name the CA in ssl_ca_file", refused=True
            ) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = str(getattr(error, "os_error", error)) or "in time"
            raise self._error(f"does not answer ({printable(why)})", refused=False) from error
        if status >= 500 or status in RETRIABLE_STATUSES:
            raise self._error(f"cannot issue a token now (status {status})", refused=False)
        token, seconds = body.get("access_token"), body.get("expires_in") or DEFAULT_LIFETIME_SECONDS
        if status != 200:
            raise self._error(f"returned no token (status {status}{self._reason(body)}). {CHECK}", refused=True)
        try:
            if not isinstance(token, str) or not _TOKEN.fullmatch(token):
                raise ValueError
            return token, float(seconds)
        except (TypeError, ValueError):
            raise self._error("answers without an access_token. Check its address", refused=True) from None

    async def _sign(self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Set the client's credentials, even if `~/.netrc`, which aiohttp reads for proxies, has others."""
        sender = f"{quote_plus(self._id)}:{quote_plus(self._secret)}"  # RFC 6749, 2.3.1
        request.headers["Authorization"] = f"Basic {b64encode(sender.encode()).decode()}"
        return await handler(request)

    def _error(self, why: str, *, refused: bool) -> TokenError:
        return TokenError(f"The token endpoint {_without_query(self._url)} {why}", refused=refused)

    def _reason(self, body: Mapping[str, Any]) -> str:
        told = ": ".join(str(body[key]) for key in ("error", "error_description") if body.get(key))
        return ", " + printable(told.replace(self._secret, "…"), 200) if told else ""


CHECK = "Check sasl_oauthbearer_client_id, its secret and sasl_oauthbearer_scope"


async def _json(response: aiohttp.ClientResponse) -> Mapping[str, Any]:
    """Return the JSON object in a response; an empty one if there is none."""
    try:
        body = await response.json(content_type=None)
    except ValueError:
        body = None
    return body if isinstance(body, dict) else {}


def _without_query(url: str) -> str:
    return printable(urlsplit(url)._replace(query="", fragment="").geturl(), 200)


class MskTokens(Tokens):
    """Tokens for Amazon MSK: requests that AWS's own library signs with the credentials of this machine."""

    def __init__(self, region: str, profile: str, role_arn: str) -> None:
        super().__init__()
        try:
            import botocore.session
            from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
        except ModuleNotFoundError:
            need = 'the package aws-msk-iam-sasl-signer-python. Install it: pip install "yasdg[aws]"'
            raise ConfigurationError([f"[KAFKA] auth_method = aws_msk_iam: it needs {need}"]) from None
        self._signer, self._session = MSKAuthTokenProvider, botocore.session
        self._region, self._profile, self._role_arn = region, profile, role_arn
        self.principal = printable(
            role_arn or (f"the profile {profile}" if profile else "the AWS credentials found here")
        )

    async def _fetch(self) -> tuple[str, float]:
        return await asyncio.to_thread(self._signed)

    def _signed(self) -> tuple[str, float]:
        from botocore import exceptions as aws
        from botocore.credentials import CredentialProvider

        try:
            found = self._credentials()

            class Found(CredentialProvider):  # botocore is untyped
                def load(self) -> Any:
                    return found

            token, expires = self._signer.generate_auth_token_from_credentials_provider(self._region, Found())
        except (aws.ConnectionError, aws.HTTPClientError, aws.MetadataRetrievalError) as error:
            raise TokenError(f"AWS does not answer {self.principal}: {error}", refused=False) from error
        except (aws.BotoCoreError, aws.ClientError) as error:
            raise TokenError(f"AWS issued no token for {self.principal}: {error}", refused=True) from error
        return str(token), expires / 1000 - time.time()

    def _credentials(self) -> Any:
        """Return the current credentials: those of a session expire."""
        from botocore.config import Config
        from botocore.credentials import Credentials
        from botocore.exceptions import NoCredentialsError

        session = self._session.Session(profile=self._profile or None)
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        if not self._role_arn:
            return found
        soon = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 2})
        sts = session.create_client("sts", region_name=self._region, config=soon)
        role = sts.assume_role(RoleArn=self._role_arn, RoleSessionName="yasdg")["Credentials"]
        return Credentials(role["AccessKeyId"], role["SecretAccessKey"], role["SessionToken"])
