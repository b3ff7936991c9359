"""Errors of formats, apart from what needs packages that may be missing."""

from yasdg_app.errors import YasdgError


class RegistryError(YasdgError):
    """The schema registry cannot be used."""
