"""Memory that a training frees stays with its process: the next step finds it there.

The C library hands large pieces back to the system at once, and each fresh page of the next one
costs a page fault; a step with a softmax over thousands of words has ten thousands of them.
"""

import ctypes
import os
import platform

KEPT = 1 << 30  # bytes: pieces up to this size are kept, and so much of them unused
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)


def keep_freed() -> bool:
    """Ask the C library to keep freed memory for this process, from now on.

    Its own variables (`MALLOC_…`, `GLIBC_TUNABLES`) go first: where one is set, nothing is changed.

    Returns:
        Whether it will; only glibc can be asked.

    Example:
        >>> keep_freed()  # doctest: +SKIP
        True
    """
    said = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if said or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, KEPT)) and bool(mallopt(_TRIM_THRESHOLD, KEPT))
