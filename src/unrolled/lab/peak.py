"""A recipe comes in, as JSON on standard input; the bytes that its training needs go out.

It runs in a process of its own, since what a process once held it keeps: a second training in the
same one would seem to need nothing.
"""

import gc
import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

STEPS = 3  # after these an optimizer has all that it will ever hold


def peak(source: str, recipe: dict[str, Any], data_dir: str | None) -> int | None:
    """Bytes by which a process grows, at most, from when the network and its data are there.

    Gradients, the optimizer, activations and the engine's buffers, over three steps of training and
    the evaluation of one batch. None where the system does not tell (it does on Linux), or where
    the process ends in an error.

    Args:
        source: of the data.
        recipe: as plain JSON; its cell is a traced one's.
        data_dir: a named dataset's folder.
    """
    told = json.dumps({"source": source, "recipe": recipe, "data_dir": data_dir})
    command = [sys.executable, "-m", "unrolled.lab.peak"]
    ran = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    words = ran.stdout.split()
    return int(words[-1]) if ran.returncode == 0 and words and words[-1].isdigit() else None


def main() -> None:
    """Answer one question of `peak`."""
    from dataclasses import replace

    from unrolled.engine.traced import Traced
    from unrolled.optimise import choose_device
    from unrolled.tasks import find
    from unrolled.tasks.recipe import Recipe, build
    from unrolled.train import train

    told = json.loads(sys.stdin.read())
    cell = Traced.from_json(told["recipe"]["model"].pop("cell"))
    recipe = Recipe.from_json(told["recipe"])
    recipe = replace(recipe, model={**recipe.model, "cell": cell})
    task, dataset = build(told["source"], recipe, data_dir=told["data_dir"])
    settings = recipe.settings()
    device = choose_device(settings.device)
    settings = replace(settings, epochs=1, accumulate=1, watch="none", tensorboard=False)
    data = replace(dataset, valid=dataset.train, read_test=None)

    def trained(task: Any, size: int) -> None:
        order = task.batches(dataset.train, size, seed=settings.seed)
        train(_Few(task, list(islice(order, STEPS))), data, settings, progress=False)

    # A smallest network first: what is loaded on the first use of a kernel is nobody's need.
    small = {**recipe.model, "hidden": cell.heads}
    trained(find(recipe.task).for_dataset(dataset, seed=0, **small), 2)
    gc.collect()
    before = _begin(device)
    trained(task, settings.batch)
    after = _end(device)
    print("" if before is None or after is None else max(0, after - before))


class _Few:
    """A task whose epoch is a few batches, and whose evaluation is one."""

    def __init__(self, task: Any, few: list[Any]):
        self.task, self.few, self.model = task, few, task.model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def batches(self, split: Any, size: int, **order: Any) -> Any:
        return iter(self.few if "epoch" in order else self.few[:1])

    def count(self, split: Any, size: int) -> int:
        return len(self.few)


def _begin(device: Any) -> int | None:
    """What is held now; the highest from here on is what `_end` tells."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS")


def _end(device: Any) -> int | None:
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


if __name__ == "__main__":
    main()
