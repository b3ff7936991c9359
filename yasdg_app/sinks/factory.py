"""Selects the datastore of an address. Optional packages are imported only when they are needed."""

from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from yasdg_app.errors import ConfigurationError
from yasdg_app.sinks.base import Datastore


def create_datastore(url: str) -> Datastore | None:
    """Return the datastore that `[DATASTORE] url` names; None if that is empty.

    Raises ConfigurationError if a package is missing.
    """
    if not url:
        return None
    address = urlsplit(url)
    try:
        match address.scheme:
            case "sqlite":
                from yasdg_app.sinks.sqlite import SQLite

                return SQLite(Path(unquote(address.path[1:])))
            case "postgresql":
                from yasdg_app.sinks.postgresql import PostgreSQL

                return PostgreSQL(url)
            case _:
                from yasdg_app.sinks.dynamodb import DynamoDB

                given = {name: values[0] for name, values in parse_qs(address.query).items()}
                return DynamoDB(address.netloc, given.get("region"), given.get("endpoint"))
    except ModuleNotFoundError as error:
        extra = {"postgresql": "postgresql", "dynamodb": "aws"}[address.scheme]
        needed = f'{address.scheme} needs the package {error.name}; pip install "yasdg[{extra}]" installs it'
        raise ConfigurationError([f"[DATASTORE] url: {needed}"]) from None
