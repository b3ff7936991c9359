"""Rules for time zones and for regions with known public holidays."""

import importlib.resources
from collections.abc import Sequence

from yasdg_app.config.rules.base import InvalidValueError, Rule
from yasdg_app.config.rules.suggestions import did_you_mean, is_misspelt, is_same


def time_zone() -> Rule[str]:
    """Return the rule for a time zone of the package tzdata; not of the machine, whose zones may differ."""

    def parse(text: str) -> str:
        known = importlib.resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
        if text not in known:
            raise InvalidValueError(expected + _zone_meant(text, known))
        return text

    expected = "the name of a time zone, such as UTC or Europe/Berlin"
    return Rule(parse, expected)


def _zone_meant(text: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for a misspelt time zone or city; "" if zones with different rules match."""
    files = importlib.resources.files("tzdata").joinpath("zoneinfo")
    names = [zone for zone in known if not zone.startswith("Etc/")]  # Etc/GMT+2 is what others call GMT-2
    for is_meant in (is_same, is_misspelt(names)):
        meant = [
            zone
            for zone in names
            if is_meant(text, zone) or (zone.count("/") == 1 and is_meant(text, zone.rpartition("/")[2]))
        ]
        if meant:
            clocks = {files.joinpath(zone).read_bytes() for zone in meant}
            return f"; did you mean {meant[0]}?" if len(clocks) == 1 and "+" not in text else ""
    return ""


def region() -> Rule[str]:
    """Return the rule for a country or subdivision with public holidays in the package holidays; empty: none."""

    def parse(text: str) -> str:
        if not text:
            return ""
        import holidays  # takes 0.1 s, and only some configurations need it
        from holidays.registry import COUNTRIES

        countries = holidays.list_supported_countries(include_aliases=False)
        country, hyphen, subdivision = text.partition("-")
        if country in countries and (not hyphen or subdivision in countries[country]):
            return text
        codes = {name: code for name, code, *_ in COUNTRIES.values()}
        here = {country: countries[country]} if country in countries else countries
        known = [f"{code}-{part}" for code, parts in here.items() for part in parts]
        if any(is_same(text, code) for code in (*known, *here)):
            raise InvalidValueError(expected + did_you_mean(text, [*known, *here]))
        # Changing one letter often gives another code, but hardly another country's name.
        raise InvalidValueError(expected + did_you_mean(text, codes, codes))

    expected = "a country such as DE, one with its subdivision such as DE-BY, or nothing"
    return Rule(parse, expected)
