"""File locks that the kernel releases when their holder dies, however it dies."""

import fcntl
import os
import weakref
from pathlib import Path


class FileLock:
    """A lock on a file, held by this process alone (exclusive) or together with others (shared).

    It is held until `release()` or the end of the process, `kill -9` included. Child processes do not inherit it: an
    exec closes it, and a fork releases the child's copy. Each object is one holder; two objects on one path exclude
    each other even within a process. The file is empty and is never removed: otherwise two holders could lock
    different files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        _all_locks.add(self)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Acquire the lock if it is free; return whether this object holds it. Raises OSError."""
        return self.held or self._acquire(shared, fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Acquire the exclusive lock, however long that takes. Raises OSError."""
        if not self.held:
            self._acquire(False, 0)

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _acquire(self, shared: bool, how: int) -> bool:
        # Open file descriptions, not processes, own an flock; Python's descriptors are closed by an exec.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | how)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True


_all_locks: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _drop_in_child() -> None:
    # A fork shares its parent's locks: without this they would outlive the parent.
    for lock in list(_all_locks):
        lock.release()


os.register_at_fork(after_in_child=_drop_in_child)
