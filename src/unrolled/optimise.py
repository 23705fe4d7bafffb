"""Settings come in; the optimizer, the learning rate of each step and the device go out.

Averaging is apart from the optimizer: with "sgd" it is NT-ASGD, with any other it is the same mean.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from unrolled.errors import UsageError

# what each optimizer remembers of a parameter
SLOTS = {
    "adamw": ("exp_avg", "exp_avg_sq", "step"),
    "adam": ("exp_avg", "exp_avg_sq", "step"),
    "sgd": (),
}
_CHOICES = {
    "optimizer": tuple(SLOTS),
    "average": ("none", "stalled"),
    "schedule": ("constant", "onecycle", "cosine"),
    "precision": ("auto", "float32", "bfloat16"),
    "keep": ("best", "last"),
    "watch": ("none", "gradients"),
}
_LEAST = {
    "epochs": 1,
    "batch": 1,
    "accumulate": 1,
    "seed": 0,
    "patience": 0,
    "stall": 1,
    "log_every": 0,
    "checkpoint_every": 0,
    "lr": 0,
    "weight_decay": 0,
    "clip": 0,
}


@dataclass(frozen=True)
class Settings:
    """How a network is trained; every value is checked here, where it is given.

    Args:
        epochs: passes over the training part.
        batch: examples a batch.
        accumulate: batches whose gradients make one step.
        optimizer: "adamw" (weights decay, biases do not), "adam", or "sgd" (plain; weights decay).
        average: "none", or "stalled": from when validation has stalled on, the mean of the weights
            of all steps is what is validated and kept; with "sgd" this is NT-ASGD (Merity, Keskar
            and Socher 2018, arXiv:1708.02182).
        stall: epochs: validation has stalled when it is worse than the best before the last so
            many.
        lr: learning rate, at its peak.
        schedule: "constant", "cosine" (down to 0) or "onecycle" (up, then down to almost 0).
        warmup: share of all steps in which the rate rises: in a line, in "onecycle" as a cosine.
        weight_decay: of "adamw" and "sgd".
        clip: largest norm that all gradients may have together; 0 never clips.
        patience: epochs without a better score on the validation part before stopping; 0 for none.
        keep: "best" by validation, or "last": the weights that the model ends up with.
        augment: "none" or "shift2": images moved by up to 2 pixels.
        seed: of order, augmentation and dropout.
        device: "auto" (CUDA where there is some, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        precision: "auto" (bfloat16 products on CUDA, else float32), "float32" or "bfloat16".
        log_every: steps between lines of the log; 0 for a line an epoch.
        checkpoint_every: steps between checkpoints, beside the one an epoch; 0 for none.
        watch: "gradients" measures how far gradients reach now and then, into metrics.jsonl, and
            gives the alarm where they explode; or "none".
        tensorboard: also write TensorBoard's files (needs the extra of that name).

    Raises:
        UsageError: a value that it cannot have, with those it can.

    Example:
        >>> Settings(lr=-1)
        Traceback (most recent call last):
        unrolled.errors.UsageError: lr: expected at least 0, got -1.
    """

    epochs: int = 10
    batch: int = 100
    accumulate: int = 1
    optimizer: str = "adamw"
    average: str = "none"
    stall: int = 5
    lr: float = 0.003
    schedule: str = "onecycle"
    warmup: float = 0.3
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 0
    keep: str = "best"
    augment: str = "none"
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    log_every: int = 0
    checkpoint_every: int = 0
    watch: str = "none"
    tensorboard: bool = False

    def __post_init__(self):
        for field in fields(self):
            kind: Any = type(field.default)
            value: Any = getattr(self, field.name)
            if kind is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, field.name, value)
            if type(value) is not kind:
                raise UsageError(field.name, expected=_words(kind), got=repr(value))
            if kind is float and not math.isfinite(value):
                raise UsageError(field.name, expected="a finite number", got=value)
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(
                    name, expected=f"at least {least}", got=_short(getattr(self, name))
                )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(
                    name, expected="one of " + ", ".join(choices), got=repr(getattr(self, name))
                )
        if not 0 <= self.warmup < 1:
            raise UsageError(
                "warmup", expected="a share of at least 0 and below 1", got=self.warmup
            )
        if self.seed >= 2**32:
            raise UsageError("seed", expected="at most 4294967295", got=self.seed)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def choose_device(name: str) -> torch.device:
    """The device that `name` means on this machine.

    Raises:
        UsageError: there is none such.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    here += ["mps"] * torch.backends.mps.is_available()
    if name not in here and not (name == "cuda" and torch.cuda.is_available()):
        raise UsageError("device", expected=f"auto, {', '.join(here)}", got=repr(name))
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype | None:
    """The dtype of products under autocast, or None for float32 throughout."""
    if name == "auto":
        fits = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fits else None
    return torch.bfloat16 if name == "bfloat16" else None


def make_optimizer(
    model: nn.Module, settings: Settings, device: torch.device
) -> torch.optim.Optimizer:
    """The optimizer of every parameter that learns; matrices decay, vectors do not."""
    learning = [p for p in model.parameters() if p.requires_grad]
    fused = device.type in ("cpu", "cuda") and all(p.is_floating_point() for p in learning)
    if settings.optimizer == "adam":
        return torch.optim.Adam(learning, lr=settings.lr, fused=fused)
    matrices = [p for p in learning if p.ndim > 1]
    vectors = [p for p in learning if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, fused=fused)
    return torch.optim.AdamW(groups, lr=settings.lr, fused=fused)


def moments(
    optimizer: torch.optim.Optimizer, model: nn.Module, kind: str
) -> dict[str, torch.Tensor]:
    """What an optimizer of this kind remembers of each parameter, as `optimizer.SLOT.NAME`."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        f"optimizer.{slot}.{names[id(p)]}": kept[slot]
        for p, kept in optimizer.state.items()
        for slot in SLOTS[kind]
    }


def unmoved(optimizer: torch.optim.Optimizer, model: nn.Module, kind: str) -> list[str]:
    """Names of the parameters that an optimizer with a memory has not moved: frozen so far."""
    if not SLOTS[kind]:
        return []
    names = {id(p): name for name, p in model.named_parameters()}
    learning = [p for group in optimizer.param_groups for p in group["params"]]
    return [names[id(p)] for p in learning if p not in optimizer.state]


def restore_moments(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    kind: str,
    part: Callable[[str, Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]],
    unmoved: Sequence[str] = (),
) -> None:
    """Give `optimizer` back what `moments` took; `part(prefix, wanted)` yields checked tensors.

    Nothing is wanted of the parameters called `unmoved`: they have not had a gradient yet.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    learning = [p for group in optimizer.param_groups for p in group["params"]]
    places = [k for k, p in enumerate(learning) if names[id(p)] not in unmoved]
    wanted = {names[id(learning[k])]: learning[k].detach().cpu() for k in places}
    counts = dict.fromkeys(wanted, torch.zeros(()))
    found = {
        slot: part(f"optimizer.{slot}", counts if slot == "step" else wanted)
        for slot in SLOTS[kind]
    }
    table = optimizer.state_dict()
    table["state"] = {
        place: {slot: found[slot][name].clone() for slot in SLOTS[kind]}
        for place, name in zip(places, wanted, strict=True)
    }
    optimizer.load_state_dict(table)


class Average:
    """The mean of a model's weights over the steps since it began; nothing before.

    Args:
        model: whose weights.

    Attributes:
        count: steps in the mean.
        begun: whether there is a mean, or will be after the next step.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> average = Average(model)
        >>> average.begun = True
        >>> for value in (1.0, 4.0):
        ...     _ = model.weight.data.fill_(value)
        ...     average.add()
        >>> with average.in_place():
        ...     model.weight.item()
        2.5
        >>> model.weight.item()
        4.0
    """

    def __init__(self, model: nn.Module):
        self.model, self.begun, self.count = model, False, 0
        self.mean: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def add(self) -> None:
        """Take the weights of the step just taken into the mean."""
        if not self.begun:
            return
        self.count += 1
        for name, value in self.model.named_parameters():
            if self.count == 1:
                self.mean[name] = value.detach().clone()
            else:
                self.mean[name].lerp_(value, 1 / self.count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean as its weights inside, where there is a mean."""
        own = {name: value.detach().clone() for name, value in self._weights()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._weights():
                    value.copy_(own[name])

    @torch.no_grad()
    def apply(self) -> None:
        """Give the model the mean as its weights, where there is one."""
        for name, value in self._weights():
            value.copy_(self.mean[name])

    def _weights(self) -> list[tuple[str, nn.Parameter]]:
        return list(self.model.named_parameters()) if self.count else []


def stalled(scores: Sequence[list[float]], epochs: int) -> bool:
    """Whether the last score is worse than the best of those before the `epochs` before it.

    Example:
        >>> stalled([[1.0], [3.0], [2.0], [2.5]], 2), stalled([[1.0], [3.0], [2.0], [2.5]], 1)
        (False, True)
    """
    earlier = scores[: -1 - epochs]
    return bool(earlier) and scores[-1] < max(earlier)


def learning_rate(settings: Settings, total: int) -> Callable[[int], float]:
    """The rate of each step from 0 to `total` - 1: a pure function, nothing to save and restore.

    Example:
        >>> rate = learning_rate(Settings(lr=1.0, schedule="onecycle", warmup=0.3), 100)
        >>> [round(rate(step), 3) for step in (0, 30, 99)]
        [0.04, 1.0, 0.0]
    """
    rising = settings.warmup * total
    one_cycle = settings.schedule == "onecycle"

    def rate(step: int) -> float:
        if step < rising:
            if one_cycle:
                return settings.lr * _cosine(1 / 25, 1.0, step / rising)
            return settings.lr * (step + 1) / (rising + 1)
        if settings.schedule == "constant":
            return settings.lr
        share = (step - rising) / max(1.0, total - 1 - rising)
        return settings.lr * _cosine(1.0, 4e-6 if one_cycle else 0.0, min(share, 1.0))

    return rate


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _words(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind]


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
