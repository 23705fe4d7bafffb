"""A dataset's name or a path of the user's comes in; a Dataset in three parts goes out."""

from __future__ import annotations

import numpy as np
from .dataset import Dataset, Split
from .learning import learn
from .splitting import held_out, share


def load(
    name,
    *,
    data_dir=None,
    read="rows",
    seed=0,
    valid=None,
    test=None,
    scale=None,
    preparation=None,
    **_,
):
    from sklearn.datasets import load_digits

    raw = load_digits()
    all_ = Split(raw.images.astype(np.uint8), raw.target.astype(np.int64))
    n_test = share("test", 0.2 if test is None else test, len(all_))
    keep, out = held_out(all_, n_test, "seed", seed, stratify=True)
    rest = all_.take(keep)
    a, b = held_out(
        rest,
        share("valid", 0.1 if valid is None else valid, len(all_)),
        "seed",
        seed,
        stratify=True,
    )
    train = rest.take(a)
    prep = preparation or learn(
        train.inputs, form="image", layout="images", read=read, seed=seed, scale=scale, top=16
    )
    return Dataset(
        str(name),
        train,
        rest.take(b),
        "single",
        [str(i) for i in range(10)],
        prep,
        {"source": "scikit-learn", "seed": seed},
        lambda: all_.take(out),
    )
