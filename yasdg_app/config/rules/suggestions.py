"""Suggestions for misspelt words: "did you mean X?"."""

import re
from collections.abc import Callable, Iterable, Mapping


def did_you_mean(
    word: str, known: Iterable[str], shown_as: Mapping[str, str] | None = None, *, cut_short: bool = False
) -> str:
    """Return "; did you mean X?", X being the only known word that matches, as in `shown_as`; "" if none is certain.

    Words match if they differ only in case, separators and leading zeros. Otherwise they match if one letter is missing
    or extra, or two adjacent letters are swapped. With `cut_short` a part of a known word matches too, such as fri. If
    several words match, none is suggested.
    """
    suggested = suggestion(word, known, shown_as, cut_short=cut_short)
    return "" if suggested is None else f"; did you mean {suggested}?"


def suggestion(
    word: str, known: Iterable[str], shown_as: Mapping[str, str] | None = None, *, cut_short: bool = False
) -> str | None:
    """Return the word that `did_you_mean` suggests; None if none is certain."""
    names = list(dict.fromkeys(known))
    for is_meant in (is_same, is_misspelt(names), *((_is_cut_short,) if cut_short else ())):
        found = {(shown_as or {}).get(name, name) for name in names if is_meant(word, name)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


MIN_LETTERS = 4  # letters from which on one wrong letter leaves no doubt
_SEPARATORS = re.compile(r"[\s_./-]+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def _words(text: str) -> list[str]:
    return [part for part in _SEPARATORS.split(_LEADING_ZEROS.sub("", text.casefold())) if part]


def is_same(word: str, name: str) -> bool:
    """Return whether two words differ only in case, separators and leading zeros."""
    return "".join(_words(word)) == "".join(_words(name))


def _is_cut_short(word: str, name: str) -> bool:
    return len(word) >= 3 and (name.casefold().startswith(word.casefold()) or word.casefold() in _words(name))


def is_misspelt(names: Iterable[str]) -> Callable[[str, str], bool]:
    """Return a function that checks whether a word is a misspelt name. Other words of the names are no misspellings."""
    vocabulary = {part for name in names for part in _words(name)}

    def is_misspelt(word: str, name: str) -> bool:
        ours, theirs = _words(word), _words(name)
        if not _differ_in_a_letter("".join(ours), "".join(theirs)):
            return False
        if len(ours) == len(theirs):  # ssl is no misspelling of sasl if both are known, but sales is one of sale
            others = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
            return all(one not in vocabulary or one.rstrip("s") == other.rstrip("s") for one, other in others)
        return True

    return is_misspelt


def _differ_in_a_letter(one: str, other: str) -> bool:
    """Return whether one letter is missing in one of two words, or two adjacent letters are swapped."""
    short, long = sorted((one, other), key=len)
    if (
        len(short) < MIN_LETTERS
        or len(long) - len(short) > 1
        or re.findall("[0-9]+", one) != re.findall("[0-9]+", other)
    ):
        return False
    at = next((place for place, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    return short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
