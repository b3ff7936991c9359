"""The number of files and sockets that this process may have open. Independent of their use."""

import errno
import resource

MOST_ON_MACOS = 10_240
"""Limit for a process on macOS that has no limit of its own: OPEN_MAX of the kernel."""
NONE_LEFT = (errno.EMFILE, errno.ENFILE)
"""System errors that mean: no free descriptor, in this process or on this machine."""


def raise_descriptor_limit() -> int:
    """Raise the limit on open descriptors as far as this process may; return the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    lower = MOST_ON_MACOS if hard == resource.RLIM_INFINITY else min(hard, MOST_ON_MACOS)
    for limit in (hard, max(soft, lower)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        except (OSError, ValueError):  # macOS reports "unlimited" but allows only a constant of the kernel
            continue
        return limit
    return soft


def descriptor_limit() -> int:
    """Return the number of descriptors this process may have open; a very high number if there is no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def has_none_left(error: BaseException) -> bool:
    """Return whether a system error means that no descriptor is free."""
    return isinstance(error, OSError) and error.errno in NONE_LEFT
