"""Number of examples per property: all of them in `make test-all`, a fraction in shorter runs."""

import os

import hypothesis

SHARES = {"all": 1.0, "usual": 0.25, "quick": 0.1}
"""Profiles of hypothesis, and the fraction of the examples that each tries."""

DEFAULT_EXAMPLES = 100
MIN_EXAMPLES = 5

_is_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")


def examples(count: int) -> int:
    """Return how many of `count` examples the profile selected by --hypothesis-profile tries."""
    share = SHARES.get(hypothesis.settings.get_current_profile_name(), 1.0)
    return max(min(count, MIN_EXAMPLES), round(count * share))


def register_profiles() -> None:
    """Register the profiles: no test fails because the machine is slow; on CI the examples are the same each time."""
    for name, share in SHARES.items():
        hypothesis.settings.register_profile(
            name, deadline=None, derandomize=_is_ci, max_examples=round(DEFAULT_EXAMPLES * share)
        )
    hypothesis.settings.load_profile("all")
