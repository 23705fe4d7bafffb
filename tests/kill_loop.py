"""Train again and again in children that are killed; say what each left behind.

Run as `python kill_loop.py FOLDER ROUNDS SEED`: it prints one JSON object. Torch is imported once,
with one thread; each run is a fork, so that a round takes milliseconds.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from unrolled import files
from unrolled.data import from_arrays
from unrolled.errors import ModelError
from unrolled.optimise import Settings
from unrolled.tasks import load
from unrolled.tasks.classify import Classify
from unrolled.train import train

SETTINGS = Settings(epochs=4, batch=8, lr=0.02, checkpoint_every=3, augment="none")
CALLS = ("open", "half a write", "fsync", "replace", "folder")


def dataset():
    x = torch.randn(80, 6, 3, generator=torch.Generator().manual_seed(0)).numpy()
    return from_arrays(x, (x[:, :, 0].sum(axis=1) > 0).astype(int), valid=16, test=16)


def run(folder, *, resume):
    data = dataset()
    task = Classify.for_dataset(data, cell="gru", hidden=8, layers=2, dropout=0.3)
    train(task, data, SETTINGS, folder, resume=resume, progress=False)


def die_at(call, count):
    """Arrange for this process to be killed at the `count`-th call of one kind within a save."""
    left = [count]

    def reached():
        left[0] -= 1
        return left[0] < 0

    def dies(function, before=True):
        def wrapped(*arguments, **options):
            if reached():
                if not before:
                    function(*arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return wrapped

    if call == "open":
        files.open = dies(open, before=False)
    elif call == "half a write":

        class Half:
            def __init__(self, file):
                self.file = file

            def __getattr__(self, name):
                return getattr(self.file, name)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            def write(self, data):
                if reached():
                    self.file.write(data[: len(data) // 2])
                    self.file.flush()
                    os.kill(os.getpid(), signal.SIGKILL)
                return self.file.write(data)

        files.open = lambda *arguments, **options: Half(open(*arguments, **options))  # noqa: SIM115  Half closes it
    elif call == "fsync":
        os.fsync = dies(os.fsync)
    elif call == "replace":
        os.replace = dies(os.replace)
    else:
        files.sync_folder = dies(files.sync_folder)


def child(work):
    """Fork; the exit status of the child, which does `work` and leaves."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001  a child of fork must end here
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    return number


def ended(number):
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def loadable(folder):
    """Whether the directory is one that loads, or says in one line that nothing is there yet."""
    try:
        load(folder)
    except ModelError as error:
        missing = "missing" in str(error) or "no model directory" in str(error)
        if not missing:
            print(f"broken: {error}", file=sys.stderr)
        return missing
    return True


def main(folder, rounds, seed):
    folder, chance = Path(folder), random.Random(seed)
    start = time.monotonic()
    assert ended(child(lambda: run(folder / "whole", resume=False))) == 0
    seconds = time.monotonic() - start
    wanted = (folder / "whole" / "model.safetensors").read_bytes()
    kills, in_saves, unloadable, different, runs = 0, 0, 0, 0, 0
    while kills < rounds:
        runs += 1
        target = folder / f"run{runs}"
        for attempt in range(200):
            in_save = chance.random() < 0.5
            call, count = chance.choice(CALLS), chance.randrange(24)

            def work(target=target, attempt=attempt, in_save=in_save, call=call, count=count):
                if in_save:
                    die_at(call, count)
                run(target, resume=attempt > 0)

            number = child(work)
            if not in_save:
                time.sleep(chance.random() * seconds)
                os.kill(number, signal.SIGKILL)
            code = ended(number)
            if code not in (0, -signal.SIGKILL):
                return {"failed": f"exit {code}", "kills": kills}
            if code == 0:
                break
            kills += 1
            in_saves += in_save
            unloadable += not loadable(target)
        else:
            return {"failed": "200 attempts did not end the run", "kills": kills}
        different += (target / "model.safetensors").read_bytes() != wanted
    return {
        "kills": kills,
        "in_saves": in_saves,
        "runs": runs,
        "unloadable": unloadable,
        "different": different,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
