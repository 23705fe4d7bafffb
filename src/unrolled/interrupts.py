"""Ctrl-C and SIGTERM come in at any moment; they are heard when it is safe: after a step."""

import signal
import sys
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """While it is entered, the first signal only sets `asked`; the second stops at once.

    Args:
        active: False leaves signals as they are, as does any thread but the main one.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.asked
        0
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, active: bool = True):
        self.active = active and threading.current_thread() is threading.main_thread()
        self.asked = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if self.active:
            # one that whoever started us wants ignored (nohup, `&` in a script) stays ignored
            heard = [n for n in self.SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
            self.before = {number: signal.signal(number, self._hear) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def leave(self) -> None:
        """Go, as the signal wanted: KeyboardInterrupt, or exit code 143."""
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + self.asked)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            self.leave()
        self.asked = number
