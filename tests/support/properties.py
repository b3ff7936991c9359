"""How many examples of a property are tried: all of them in `make test-all`, a share of them where time is short."""

import os

import hypothesis

SHARES = {"all": 1.0, "usual": 0.4, "quick": 0.1}
"""Profiles of hypothesis, and the share of the examples that each tries."""

DEFAULT_EXAMPLES = 100
MIN_EXAMPLES = 5

_is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")


def examples(count: int) -> int:
    """As many of `count` examples as the profile tries that is chosen by --hypothesis-profile."""
    share = SHARES.get(hypothesis.settings.get_current_profile_name(), 1.0)
    return max(min(count, MIN_EXAMPLES), round(count * share))


def register_profiles() -> None:
    """No test fails because the machine is slow; and on CI none by the dice: its examples are the same each time."""
    for name, share in SHARES.items():
        hypothesis.settings.register_profile(
            name, deadline=None, derandomize=_is_ci, max_examples=round(DEFAULT_EXAMPLES * share)
        )
    hypothesis.settings.load_profile("all")
