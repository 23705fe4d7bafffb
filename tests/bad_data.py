"""Small files of every kind, right unless a test breaks them, and a table of ways to do so."""

import struct

import numpy as np
import pytest
from PIL import Image

from unrolled.errors import UnrolledError

GOOD = "a,b,c,label\n" + "".join(f"{i},{i % 3},{i % 5},{'xy'[i % 2]}\n" for i in range(20))
LONG = "id,time,a,b,label\n" + "".join(
    f"s{i},{t},{t},{i},{'xy'[i % 2]}\n" for i in range(8) for t in range(2 + i % 3)
)


class Cases(dict):
    """Functions that do one wrong thing in a folder, each with what has to be said of it."""

    def __call__(self, kind, *words):
        def register(function):
            assert function.__name__ not in self, f"{function.__name__} is there twice"
            self[function.__name__] = (function, kind, words)
            return function

        return register

    def check(self, name, folder):
        wrong, kind, words = self[name]
        with pytest.raises(UnrolledError) as raised:
            wrong(folder)
        line = str(raised.value)
        assert type(raised.value) is kind, line
        assert "\n" not in line
        for word in words:
            assert word in line, line


def written(folder, text, name="data.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def idx(array):
    shape = np.shape(array)
    head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return head + np.asarray(array, np.uint8).tobytes()


def mnist_like(folder, count=20, **replaced):
    files = {
        "train-images-idx3-ubyte": idx(np.zeros((count, 4, 4))),
        "train-labels-idx1-ubyte": idx(np.arange(count) % 10),
        "t10k-images-idx3-ubyte": idx(np.zeros((count, 4, 4))),
        "t10k-labels-idx1-ubyte": idx(np.arange(count) % 10),
    }
    for name, data in files.items():
        new = replaced.get(name.split("-idx")[0].replace("-", "_"), data)
        if new is not None:
            (folder / name).write_bytes(new)
    return folder


def pictures(folder, sizes=((4, 4), (4, 4), (4, 4), (4, 4)), classes="ab"):
    for i, size in enumerate(sizes):
        path = folder / classes[i % len(classes)] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", size).save(path)
    return folder
