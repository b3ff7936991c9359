"""How workers prove to each other that they have the shop's token, without ever sending it. Pure.

A question names the address that it is meant for, so it is of no use anywhere else; an answer names
the question that it belongs to, so nobody without the token can give one. See docs/decisions/workers-ask-each-other.md.
"""

import hashlib
import hmac
import re
from typing import NamedTuple

from yarl import URL

SCHEME = "YASDG-HMAC-SHA256"
"""Of the header Authorization of a question."""
ANSWER_HEADER = "X-YASDG-Proof"
SKEW_SECONDS = 60
"""By which the clocks of two workers may differ, and for which a question holds."""
NONCE_BYTES = 16

_QUESTION = re.compile(rf"{SCHEME} time=([0-9]{{1,12}}), nonce=([0-9a-f]{{{2 * NONCE_BYTES}}}), mac=([0-9a-f]{{64}})")


class Question(NamedTuple):
    """What a worker asks another one."""

    method: str
    target: str  # path and query, as they are sent
    address: str  # of the worker that is asked; see `address_of`
    time: int  # seconds since 1970
    nonce: str  # never used before: hexadecimal digits


def address_of(url: URL) -> str:
    """Return host and port of a worker, written in one way only. Raises ValueError if there is none."""
    if url.scheme not in ("http", "https") or not url.raw_host or not url.port:
        raise ValueError("this is no address of a worker")
    return f"{url.raw_host.lower()} {url.port}"


def authorization(token: str, question: Question) -> str:
    """Return the header Authorization of a question."""
    return f"{SCHEME} time={question.time}, nonce={question.nonce}, mac={_of_question(token, question)}"


def proven(token: str, header: str, method: str, target: str, address: str, now: float) -> Question | None:
    """Return the question that a request proves to be; None if the sender has not proven to have the token.

    Parameters
    ----------
    header
        Its header Authorization.
    address
        By which the others know this worker.
    now
        Seconds since 1970.
    """
    found = _QUESTION.fullmatch(header)
    if found is None or abs(now - int(found[1])) > SKEW_SECONDS:
        return None
    question = Question(method, target, address, int(found[1]), found[2])
    return question if hmac.compare_digest(_of_question(token, question), found[3]) else None


def of_answer(token: str, question: Question, status: int, body: bytes) -> str:
    """Return the proof that an answer was given to a question by somebody who has the token."""
    return _mac(token, "answer", question.address, question.nonce, str(status), hashlib.sha256(body).hexdigest())


def is_answer(token: str, question: Question, status: int, body: bytes, given: str) -> bool:
    """Tell whether the header of an answer proves that."""
    return hmac.compare_digest(of_answer(token, question, status, body).encode(), given.encode(errors="replace"))


def _of_question(token: str, question: Question) -> str:
    return _mac(token, "question", *map(str, question))


def _mac(token: str, *parts: str) -> str:
    """Return a code of texts, in which it is clear where each ends."""
    message = "".join(f"{len(part)}:{part}" for part in ("yasdg share 1", *parts))
    return hmac.new(token.encode(), message.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
