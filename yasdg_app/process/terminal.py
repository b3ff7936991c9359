"""Makes standard output accept any text in any encoding: under LC_ALL=C it accepts only ASCII."""

import codecs
import io
import sys

ESCAPED = "yasdg.escaped"


def escape_what_the_output_cannot_take() -> None:
    r"""Write characters that standard output or error cannot encode as \uXXXX, as JSON does."""
    codecs.register_error(ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end
