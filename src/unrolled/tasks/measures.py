"""Logits and targets come in; figures that say how good a model is go out.

N examples, K classes or values; everything is computed in float64.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Table = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Guess:
    """What a model says of N examples.

    Args:
        values: probabilities (N, K), of classes or of each label; in regression the values.
        index: int64 (N) of the likeliest class, bool (N, K) of several labels, or the values.
        names: the same in words: a label, a list of labels, or a list of values for each.
    """

    values: np.ndarray
    index: np.ndarray
    names: list[Any]


def single(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Figures of one label an example: logits (N, K), targets int64 (N).

    Returns:
        `accuracy`, `loss`, `macro_f1`, `calibration_error` (expected, 15 bins: Guo and others 2017,
        arXiv:1706.04599), `per_class`, and `confusion` (K, K): rows are true, columns predicted.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> figures = single(logits, torch.tensor([0, 1, 1]), ["no", "yes"])
        >>> round(figures["accuracy"], 3), figures["confusion"].tolist()
        (0.667, [[1, 0], [1, 1]])
    """
    logits = logits.double()
    count = len(labels)
    chosen = logits.argmax(dim=1)
    pairs = torch.bincount(targets * count + chosen, minlength=count**2)
    confusion = pairs.reshape(count, count).numpy()
    per_class = report(confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1), labels)
    sure, _ = torch.softmax(logits, dim=1).max(dim=1)
    right = chosen == targets
    return {
        "accuracy": right.double().mean().item(),
        "loss": functional.cross_entropy(logits, targets).item(),
        "macro_f1": _macro(per_class),
        "calibration_error": _calibration_error(sure, right),
        "per_class": per_class,
        "confusion": confusion,
    }


def multi(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Figures of any number of labels an example: logits and targets (N, K), targets 0 or 1.

    Returns:
        `accuracy` (examples whose labels are all right), `loss`, `micro_f1`, `macro_f1`,
        `per_class`.

    Example:
        >>> logits = torch.tensor([[2.0, -1.0], [1.0, 1.0]])
        >>> multi(logits, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), ["a", "b"])["accuracy"]
        0.5
    """
    logits, truth = logits.double(), targets > 0.5
    chosen = logits > 0
    both = (chosen & truth).sum(dim=0).numpy()
    said, there = chosen.sum(dim=0).numpy(), truth.sum(dim=0).numpy()
    per_class = report(both, said, there, labels)
    return {
        "accuracy": (chosen == truth).all(dim=1).double().mean().item(),
        "loss": functional.binary_cross_entropy_with_logits(logits, truth.double()).item(),
        "micro_f1": _share(2 * both.sum(), said.sum() + there.sum()),
        "macro_f1": _macro(per_class),
        "per_class": per_class,
    }


def regression(values: Tensor, targets: Tensor, labels: Sequence[str]) -> dict[str, Any]:
    """Figures of predicted values (N, K) in the user's units.

    Returns:
        `rmse` and `mae` over all values, `r2` (mean over the K), `loss` (the mean square),
        `per_value`, and `pairs`: targets and values, (2, N, K).

    Example:
        >>> true = torch.tensor([[1.0], [2.0], [3.0]])
        >>> regression(true + 0.5, true, ["level"])["mae"]
        0.5
    """
    values, targets = values.double(), targets.double()
    gap = values - targets
    spread = (targets - targets.mean(dim=0)).square().sum(dim=0)
    rest = gap.square().sum(dim=0)
    # as scikit-learn: a constant target counts 1 if it is met, else 0
    r2 = torch.where(spread > 0, 1 - rest / spread.clamp_min(1e-300), (rest == 0).double())
    per_value = {
        label: {
            "rmse": gap[:, k].square().mean().sqrt().item(),
            "mae": gap[:, k].abs().mean().item(),
            "r2": r2[k].item(),
        }
        for k, label in enumerate(labels)
    }
    return {
        "rmse": gap.square().mean().sqrt().item(),
        "mae": gap.abs().mean().item(),
        "r2": r2.mean().item(),
        "loss": gap.square().mean().item(),
        "per_value": per_value,
        "pairs": torch.stack([targets, values]).numpy(),
    }


def best_temperature(logits: Tensor, targets: Tensor, kind: str) -> float:
    """The T for which softmax (or sigmoid) of logits / T is likeliest: from 0.05 to 20.

    The likelihood has one peak in 1 / T, so that a golden-section search finds it. N examples that
    are all right do not prove a chance of 1: each target counts 1 - 1 / (N + 2), as the rule of
    succession says. Temperature scaling: Guo and others 2017, arXiv:1706.04599; such targets: Platt
    1999.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0]] * 400)  # 98 % sure, and right in three of four
        >>> round(best_temperature(logits, torch.tensor([0, 0, 0, 1] * 100), "single"), 1)
        3.7
    """
    logits = logits.double()
    doubt = 1 / (len(logits) + 2)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        if kind == "single":
            classes = logits.shape[1]
            share = doubt * classes / max(classes - 1, 1)
            return functional.cross_entropy(scaled, targets, label_smoothing=min(share, 1)).item()
        wanted = targets.double() * (1 - 2 * doubt) + doubt
        return functional.binary_cross_entropy_with_logits(scaled, wanted).item()

    low, high = np.log(0.05), np.log(20.0)
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 1e-6:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))


def report(both, said, there, labels: Sequence[str]) -> Table:
    """Precision, recall, F1 and count of each label.

    Args:
        both: (K,) how often a label was said and true.
        said: (K,) how often it was said.
        there: (K,) how often it was true.
        labels: the K names.
    """
    return {
        label: {
            "precision": _share(both[k], said[k]),
            "recall": _share(both[k], there[k]),
            "f1": _share(2 * both[k], said[k] + there[k]),
            "count": int(there[k]),
        }
        for k, label in enumerate(labels)
    }


def _macro(per_class: Table) -> float:
    seen = [row["f1"] for row in per_class.values() if row["count"]]
    return float(np.mean(seen)) if seen else 0.0


def _share(part, whole) -> float:
    return float(part / whole) if whole else 0.0


def _calibration_error(sure: Tensor, right: Tensor, bins: int = 15) -> float:
    place = (sure * bins).long().clamp_max(bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64)
    gap.index_add_(0, place, sure - right.double())
    return (gap.abs().sum() / len(sure)).item()
