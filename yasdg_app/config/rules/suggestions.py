"""Suggestions for misspelt words: "did you mean X?"."""

import re
from collections.abc import Callable, Iterable, Mapping


def did_you_mean(
    word: str, known: Iterable[str], shown_as: Mapping[str, str] | None = None, *, cut_short: bool = False
) -> str:
    """Return "; did you mean X?", X being the one known word that is meant, or what it is shown as; "" if none is sure.

    A word is meant if no more differs than case, separators and leading zeros, or else one letter that is missing, too
    much, or in the place of its neighbour; `cut_short`: or it is a part of one, as fri. Of several, none is meant.
    """
    names = list(dict.fromkeys(known))
    for is_meant in (is_same, is_misspelt(names), *((_is_cut_short,) if cut_short else ())):
        meant = {(shown_as or {}).get(name, name) for name in names if is_meant(word, name)}
        if meant:
            return f"; did you mean {meant.pop()}?" if len(meant) == 1 else ""
    return ""


MIN_LETTERS = 4  # letters in which one that is wrong leaves no doubt
_SEPARATORS = re.compile(r"[\s_./-]+")
_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


def _words(text: str) -> list[str]:
    return [part for part in _SEPARATORS.split(_LEADING_ZEROS.sub("", text.casefold())) if part]


def is_same(word: str, name: str) -> bool:
    """Tell whether two words differ in nothing but case, separators and leading zeros."""
    return "".join(_words(word)) == "".join(_words(name))


def _is_cut_short(word: str, name: str) -> bool:
    return len(word) >= 3 and (name.casefold().startswith(word.casefold()) or word.casefold() in _words(name))


def is_misspelt(names: Iterable[str]) -> Callable[[str, str], bool]:
    """Return what tells whether a word is a name of these with a letter wrong, not one with another of their words."""
    vocabulary = {part for name in names for part in _words(name)}

    def is_misspelt(word: str, name: str) -> bool:
        ours, theirs = _words(word), _words(name)
        if not _differ_in_a_letter("".join(ours), "".join(theirs)):
            return False
        if len(ours) == len(theirs):  # ssl is no misspelling of sasl where there are both, but sales is one of sale
            others = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
            return all(one not in vocabulary or one.rstrip("s") == other.rstrip("s") for one, other in others)
        return True

    return is_misspelt


def _differ_in_a_letter(one: str, other: str) -> bool:
    """Tell whether one letter is missing in one of two words, or two that stand side by side are swapped."""
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
