"""How many files and sockets this process may have open. Knows nothing of what they are for."""

import errno
import resource

MOST_ON_MACOS = 10_240
"""That a process may have there if its limit is none: OPEN_MAX of the kernel."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""Errors of the system that say: no descriptor is free, in this process or on this machine."""


def raise_descriptor_limit() -> int:
    """Raise the limit on open descriptors as far as this process may; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    lower = MOST_ON_MACOS if hard == resource.RLIM_INFINITY else min(hard, MOST_ON_MACOS)
    for limit in (hard, max(soft, lower)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):  # macOS: "unlimited", and no more than a constant of the kernel
            continue
        return limit
    return soft


def descriptor_limit() -> int:
    """Return how many descriptors this process may have open; a very high number if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def has_none_left(error: BaseException) -> bool:
    """Tell whether an error of the system says that no descriptor is free."""
    return isinstance(error, OSError) and error.errno in NONE_LEFT
