"""Locations of the project's files, and reading of text files."""

from pathlib import Path

from yasdg_app.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = _PACKAGE / "data" if (_PACKAGE / "data").is_dir() else _PACKAGE.parent
"""The folder of the project's own config/ and products.csv: `data` in an installed package, the root of a checkout."""

CONFIGURATION = Path("config", "configuration.ini")


def read_text(path: Path, name: str) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises ConfigurationError, which refers to the file as `name`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError([f"{name}: cannot be read: {error.strerror or error}"]) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.object` excludes the byte order mark, if there was one; positions are counted without it.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([f"{name}:{line}: not UTF-8 text: expected a file saved as UTF-8"]) from None
