"""What can go wrong in words for the person at the terminal: the root of every error that YASDG raises on purpose.

The command line prints these without a traceback; any other exception is a bug of ours. Knows nothing of the rest.
"""

from collections.abc import Iterable


class YasdgError(Exception):
    """What went wrong, in words for the person at the terminal."""


class ConfigurationError(YasdgError):
    """What a person wrote into a file or a variable cannot be used.

    `problems` holds everything that was found, not only the first of it: one sentence each, which begins with the
    place. `str()` is one problem a line.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)
