"""A process that forks comes in; a child that computes goes out: it waits for no thread it lacks.

OpenMP keeps its threads between calls, and a child that inherits its notes of them waits for them
forever. The forking thread gives them back first; where it cannot, the child computes alone.
"""

import os
from collections.abc import Callable
from typing import Any

HARD = 2  # omp_pause_hard: give everything back; the next call begins anew
_AGAIN: list[Callable[[], object]] = []  # what a child does over, such as making locks anew
_safe_in = os.getpid()  # the process whose OpenMP may have more than one thread
_pause: Any = None
_paused = False


def guard(library: Any) -> None:
    """Make forks safe for a library of a compiled cell, and for all others of this process."""
    global _pause
    if _pause is None:
        _pause = getattr(library, "omp_pause_resource_all", False)  # OpenMP 5.0, GCC 9
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before, after_in_child=_in_child)


def anew(action: Callable[[], object]) -> None:
    """Have a child do this before anything else."""
    _AGAIN.append(action)


def many_threads() -> bool:
    """Whether a call may have more than one thread in this process."""
    return os.getpid() == _safe_in


def _before() -> None:
    global _paused
    _paused = bool(_pause) and many_threads() and _pause(HARD) == 0


def _in_child() -> None:
    global _safe_in
    if _paused:
        _safe_in = os.getpid()
    for action in _AGAIN:
        action()
