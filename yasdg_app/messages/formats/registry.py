"""A schema registry, through Confluent's own client. Needs confluent-kafka[schemaregistry].

Its calls block, so run them in a thread. Errors never show the user and password of the registry's address.
"""

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from yasdg_app.errors import RENAMED, is_raised_within
from yasdg_app.messages.formats.errors import RegistryError

T = TypeVar("T")
TIMEOUT_SECONDS = 10.0
MAX_RETRIES = 2  # with about a second between them
ACCESS_DENIED, INCOMPATIBLE = (401, 403), 409
ABOUT_THE_CLIENT = (401, 429)  # status codes that are about the client, not about the schema it asks for


class Registry:
    """The registry at an address, `http(s)://[user:password@]host[:port]`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        conf: dict[str, Any] = {"url": self._shown, "timeout": TIMEOUT_SECONDS, "max.retries": MAX_RETRIES}
        if parts.username is not None:  # not in the address, which libraries may show
            conf["basic.auth.user.info"] = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        self._client = SchemaRegistryClient.new_client(conf)

    def register(self, subject: str, schema: str, kind: str) -> int:
        """Return the id of a schema, registered under a subject if it was not yet. Raises RegistryError."""
        number = self._ask(
            lambda: self._client.register_schema(subject, Schema(schema, kind)), f"the schema of {subject}"
        )
        if not isinstance(number, int):
            raise RegistryError(self._no_registry("no id of a schema"))
        return number

    def schema(self, number: int, kind: str) -> str | None:
        """Return the schema of an id found in a message; None if there is none, or one of another kind.

        A schema that the registry refuses to return counts as none: a foreign message may hold any id, and must not
        stop a worker. Raises RegistryError if the registry does not answer, fails, or denies access.
        """
        found: Any = self._ask(lambda: self._client.get_schema(number), f"schema {number}", none_if_refused=True)
        return found.schema_str if found is not None and (found.schema_type or "AVRO") == kind else None

    def _ask(self, call: Callable[[], T], what: str, none_if_refused: bool = False) -> T:
        try:
            return call()
        except SchemaRegistryError as error:
            if (
                none_if_refused
                and 400 <= error.http_status_code < 500
                and error.http_status_code not in ABOUT_THE_CLIENT
            ):
                return None  # type: ignore[return-value]
            raise RegistryError(self._refused(error, what)) from error
        except RENAMED as error:
            if not is_raised_within(error, "confluent_kafka"):  # not an absent registry
                raise
            raise RegistryError(self._no_registry(str(error))) from error
        except Exception as error:  # its HTTP library's, of many kinds
            raise RegistryError(
                f"The schema registry {self._shown} does not answer: {error}. "
                "Is it running, and [FORMAT] registry right?"
            ) from error

    def _no_registry(self, why: str) -> str:
        return f"{self._shown} answers, but not as a schema registry does ({why}). Is [FORMAT] registry right?"

    def _refused(self, error: Any, what: str) -> str:
        status, why = error.http_status_code, str(error.error_message).splitlines()[0]
        if status in ACCESS_DENIED:
            return f"The schema registry {self._shown} denies access: {why}. Set user and password in [FORMAT] registry"
        if status == INCOMPATIBLE:
            return (
                f"The schema registry {self._shown} refuses {what}, which is not compatible with the one that it has: "
                f"{why}. Give the topic another name, or let its owner remove the subject"
            )
        return f"The schema registry {self._shown} refuses {what}: {why} ({status})"
