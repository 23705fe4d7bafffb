"""How far gradients reach when MNIST is read pixel by pixel: a plain network beside two LSTMs.

For each, at the start and after a short training, the ratio of the gradient at step 1 to that at
step 784, in float64 (float32 has no number as small as some of them), the geometric mean over test
images; and a picture on request. The second LSTM starts as one that keeps: its forget gates' biases
are drawn for memories of 1 to 784 steps (Tallec and Ollivier 2018, arXiv:1804.11188).

    python benchmarks/pixel_gradients.py --data DIR [--images 5000] [--epochs 2] [--picture P.png]
"""

import argparse
import copy
import dataclasses
from pathlib import Path

import torch

from unrolled.cells.lstm import LSTM
from unrolled.data import load
from unrolled.inspect import flow, trace
from unrolled.inspect.pictures import flows, png
from unrolled.optimise import Settings
from unrolled.tasks.classify import Classify
from unrolled.train import train

IMAGES = 16


class Chrono(LSTM):
    """An LSTM that keeps from the start."""

    start = {"b.f": ("chrono", 784.0)}


def reach(task, images, name):
    """How a gradient fares in a network, computed in float64."""
    model = copy.deepcopy(task.model).double()
    x = next(task.batches(images, IMAGES)).inputs.double()
    seen = trace(model, x, loss=lambda scores: scores.amax(1).sum())
    return dataclasses.replace(flow(seen["l0"]), title=name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=None)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", default=None)
    given = parser.parse_args()
    digits = load("mnist", data_dir=given.data, read="pixels")
    parts = {
        "train": digits.train.take(range(given.images)),
        "valid": digits.valid.take(range(500)),
    }
    some = dataclasses.replace(digits, **parts)
    images, drawn = digits.test.take(range(IMAGES)), []
    for name, cell in (("rnn", "rnn"), ("lstm", "lstm"), ("lstm that keeps", Chrono)):
        task = Classify.for_dataset(digits, cell=cell, hidden=given.hidden, seed=given.seed)
        drawn.append(reach(task, images, name))
        print(f"at the start: {drawn[-1].said()}", flush=True)
        settings = Settings(epochs=given.epochs, batch=100, lr=0.002, clip=1.0, seed=given.seed)
        result = train(task, some, settings, progress=False)
        share = 100 * result.test["accuracy"]
        print(f"after {given.epochs} epochs of {given.images} images, {share:.1f} % right: "
              f"{reach(task, images, name).said()}", flush=True)  # fmt: skip
    if given.picture:
        Path(given.picture).write_bytes(png(lambda style: flows(drawn, style)))


if __name__ == "__main__":
    torch.set_num_threads(min(2, torch.get_num_threads()))
    main()
