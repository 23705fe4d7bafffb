"""The classical notebook's own loop against `unrolled train mnist --preset notebook`, in one run.

Both train the same network on the same images, in turn. No time is reported on a wrong result: an
accuracy outside of 97.6 % ± 0.5 (of the mean over the rounds) ends the run without a figure.

    python benchmarks/notebook.py --data DIR [--rounds 3]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from unrolled.data import load
from unrolled.progress import Report
from unrolled.tasks.recipe import build, resolve
from unrolled.train import train

WANTED, SLACK = 0.976, 0.005


class Pictures(Dataset):
    """A map-style dataset: each item is one PIL image, turned into a float tensor (1, 28, 28)."""

    def __init__(self, split):
        self.images, self.labels = split.inputs, split.targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = Image.fromarray(self.images[index])
        pixels = np.array(image, np.uint8)[None]
        return torch.from_numpy(pixels).float().div(255), int(self.labels[index])


class Network(nn.Module):
    """Two layers of 128 LSTM units from zero states, and a linear layer on the last step."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(28, 128, 2, batch_first=True)
        self.fc = nn.Linear(128, 10)

    def forward(self, x):
        zeros = torch.zeros(2, x.size(0), 128)
        output, _ = self.lstm(x, (zeros, zeros))
        return self.fc(output[:, -1, :])


def notebook(images, test, seed, folder):
    """The loop as the notebook has it; seconds and accuracy."""
    torch.manual_seed(seed)
    start = time.perf_counter()
    train_loader = DataLoader(Pictures(images), batch_size=100, shuffle=True)
    test_loader = DataLoader(Pictures(test), batch_size=100)
    model = Network()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    steps = len(train_loader)
    for epoch in range(2):
        for i, (pictures, labels) in enumerate(train_loader):
            loss = criterion(model(pictures.reshape(-1, 28, 28)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (i + 1) % 100 == 0:
                print(f"Epoch [{epoch + 1}/2], Step [{i + 1}/{steps}], Loss: {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        right = sum(
            (model(pictures.reshape(-1, 28, 28)).argmax(1) == labels).sum().item()
            for pictures, labels in test_loader
        )
    torch.save(model.state_dict(), folder / "model.ckpt")
    return time.perf_counter() - start, right / len(test)


def preset(data_dir, seed, folder):
    """What `unrolled train mnist --preset notebook` does, reading the files aside."""
    recipe = resolve("mnist", preset="notebook", flags={"seed": seed})
    task, images = build("mnist", recipe, data_dir=data_dir)
    _ = images.test  # both sides have their images in memory
    start = time.perf_counter()
    # the notebook's network is made within its time, so ours is as well
    task = type(task).for_dataset(images, seed=seed, **recipe.model)
    result = train(task, images, recipe.settings(), folder / "model", progress=Report(True))
    assert result.test is not None  # mnist has a test part
    return time.perf_counter() - start, result.test["accuracy"], task.model.recurrent.backend


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", help="the folder with MNIST's four files")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    mnist = load("mnist", data_dir=chosen.data, valid=0)
    theirs, ours, backend = [], [], ""
    for number in range(chosen.rounds):
        seed = chosen.seed + number
        with tempfile.TemporaryDirectory() as folder:
            theirs.append(notebook(mnist.train, mnist.test, seed, Path(folder)))
            *mine, backend = preset(chosen.data, seed, Path(folder))
            ours.append(mine)
    print(f"\n{torch.get_num_threads()} threads, torch {torch.__version__}, backend {backend}")
    print("round  notebook            unrolled            ratio")
    for number, ((a, right_a), (b, right_b)) in enumerate(zip(theirs, ours, strict=True)):
        row = f"{number:<6} {a:6.1f} s {100 * right_a:6.2f} %   {b:6.1f} s {100 * right_b:6.2f} %"
        print(f"{row}   {b / a:.2f}")
    for name, runs in (("the notebook", theirs), ("unrolled", ours)):
        mean = statistics.mean(accuracy for _, accuracy in runs)
        if abs(mean - WANTED) > SLACK:
            sys.exit(f"No ratio: the mean accuracy of {name} is {mean:.4f}, not 0.976 ± 0.005.")
    ratio = statistics.median(b / a for (a, _), (b, _) in zip(theirs, ours, strict=True))
    print(f"ratio: {ratio:.2f} (median of {chosen.rounds} rounds; below 1 unrolled is faster)")


if __name__ == "__main__":
    main()
