"""Ids that a catalog may have, for property tests: any script, blanks, quotes, slashes, up to 64 characters."""

from unicodedata import normalize

from hypothesis import strategies as st

MAX_CHARACTERS = 64
ODD = (
    "/", "\\", '"', "'", "%", "%2F", "a/b", "a b", "{}", "{id}", "?x=1&y", "#", "+", ",", ";", "a,b", 'say "hi"',
    "\\u0041",
    "<script>alert(1)</script>", "NULL", "null", "true", "-", "-000001", "A-L000001", "A-R000001", "A-F000001", "$1 :a",
    "=1+1", "...", "~", "é", "Ä-ß", "商品", "😀" * 64, '"' * 64, "\\" * 64, "שלום", "خبز", "x" * 64, "0", "42", "1e3",
    "category Books", "None", "a  b", "__proto__", "@", "\u0301",
)  # fmt: skip
"""Ids that break what is not written with care."""

_PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Z"]).filter(str.isprintable)
_TRICKY = st.sampled_from("\"\\/%{}<>&;,'|=+-0 é")


def is_id(text: str) -> bool:
    """Return whether a catalog may have this id, spelt so."""
    return (
        1 <= len(text) <= MAX_CHARACTERS
        and text.isprintable()
        and text == text.strip()
        and text == normalize("NFC", text)
        and text not in (".", "..")
    )


def product_ids() -> st.SearchStrategy[str]:
    some = st.text(_PRINTABLE | _TRICKY, min_size=1, max_size=MAX_CHARACTERS).map(lambda text: normalize("NFC", text))
    return (some.map(str.strip) | st.sampled_from(ODD)).filter(is_id)


assert all(map(is_id, ODD))
