"""A checked contender comes in; the same in a process of its own goes out.

What a program frees and takes again decides how its next step finds memory: `torch.nn.LSTM` takes
twice as long where each step faults its pages in anew. So nobody is timed in a process in which
somebody else has worked: each has the memory that a program of its user has.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import TextIO

from ..errors import BackendError
from .contenders import Contender
from .work import Shape, Work

PAUSE = 0.02  # seconds until the threads of the one before have stopped waiting for more


class Apart:
    """A contender in a process of its own; use it as a context.

    Args:
        contender: as it was checked here.
        work: what is timed.
        backend: ours.
        keep_freed: whether its C library keeps what it frees, as `unrolled train` asks it to.

    Raises:
        BackendError: the process cannot be started, or ends.
    """

    def __init__(self, contender: Contender, work: Work, backend: str, *, keep_freed: bool = False):
        import torch

        self.name = contender.name
        asked = {
            "work": asdict(work),
            "key": contender.key,
            "backend": backend,
            "threads": torch.get_num_threads(),
            "keep_freed": keep_freed,
        }
        try:
            self._process = subprocess.Popen(
                # without the current folder among the modules, as the command is without it
                [sys.executable, "-P", "-W", "ignore", "-m", "unrolled.bench.apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # an interrupt is for the command, which ends this process
                process_group=0 if os.name == "posix" else None,
            )
        except OSError as error:
            raise self._ended(str(error)) from None
        self._asked = json.dumps(asked)
        self._ready = False  # until it has imported everything, while others do the same

    def __enter__(self) -> "Apart":
        try:
            self._tell(self._asked)
        except BackendError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seconds(self, repeats: int, *, warm: bool = False) -> float:
        """As `Contender.seconds`, by the clock of its process."""
        if not self._ready:
            self._ready = bool(self._heard())
        time.sleep(PAUSE)
        self._tell(f"{repeats} {int(warm)}")
        return float(self._heard())

    def _tell(self, line: str) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(line + "\n")
            stdin.flush()
        except OSError as error:
            raise self._ended(str(error)) from None

    def _heard(self) -> str:
        stdout = self._process.stdout
        assert stdout is not None
        answer = stdout.readline()
        if not answer:
            code = self._process.wait()
            raise self._ended(f"it ended with {code}")
        return answer

    def _ended(self, why: str) -> BackendError:
        return BackendError(
            f"the process that times {self.name}",
            expected="an answer",
            got=why,
            fix="What it wrote to standard error says more.",
        )


def serve(lines: Iterable[str], answers: TextIO) -> None:
    """What runs in such a process: the first line says what is timed, each other one how often."""
    import torch

    from ..memory import keep_freed
    from .contenders import alone

    asked = iter(lines)
    said = json.loads(next(asked))
    if said["keep_freed"]:
        keep_freed()
    torch.set_num_threads(said["threads"])
    work = Work(**{**said["work"], "shape": Shape(**said["work"]["shape"])})
    contender = alone(work, said["key"], said["backend"])
    print("ready", file=answers, flush=True)
    for line in asked:
        repeats, warm = map(int, line.split())
        print(contender.seconds(repeats, warm=bool(warm)), file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a user's file prints is no answer
    try:
        serve(sys.stdin, answers)
    except BrokenPipeError:  # who asked has gone
        os._exit(1)
