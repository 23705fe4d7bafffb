"""A PyTorch state dict of an RNN with a linear head comes in; the task that it is goes out.

The file is read as weights only: what could run code is refused.
"""

import math
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.data import Preparation
from unrolled.errors import ModelError, UsageError
from unrolled.layers import Recurrent
from unrolled.tasks.classify import Classify
from unrolled.tensors import TensorFile

CELLS = {4: "lstm", 3: "gru", 1: "rnn"}  # by blocks of weight_hh
# what torch.load raises at files that are nothing of its own
_UNREADABLE = (
    RuntimeError, EOFError, ValueError, LookupError, OSError, TypeError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error,
)  # fmt: skip
_NESTS = ("state_dict", "model_state_dict", "model", "net")


class Found(NamedTuple):
    """What the shapes in a state dict say of its network."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool
    proj_size: int
    outputs: int
    recurrent: dict[str, Tensor]
    head: dict[str, Tensor]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors in a PyTorch checkpoint or a safetensors file, by name.

    Raises:
        ModelError: it is missing, broken, holds code or no tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError(str(path), expected="a file", got="a folder" if path.is_dir() else "none")
    if path.suffix == ".safetensors":
        return TensorFile(path).load()
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path} holds more than weights, and loading it could run code",
            expected="a state dict",
            fix="Save it again where it was made: torch.save(model.state_dict(), path)",
        ) from None
    except _UNREADABLE as error:
        got = " ".join(str(error).split())[:120]
        raise ModelError(f"{path} is no PyTorch checkpoint", got=got or "nothing") from None
    for name in _NESTS:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise ModelError(str(path), expected="a state dict", got=type(found).__name__)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors or not all(isinstance(name, str) for name in tensors):
        raise ModelError(str(path), expected="tensors by name", got="none")
    return tensors


def recognise(tensors: Mapping[str, Tensor], source: str, cell: str | None = None) -> Found:
    """Which recurrent layers and head a state dict belongs to.

    Args:
        tensors: by name, as `torch.nn.LSTM`, `GRU` or `RNN` and `Linear` name them.
        source: what to call it in errors.
        cell: "rnn-relu" for an `nn.RNN` with relu: its weights do not tell.

    Raises:
        ModelError: there is not exactly one such network in it.

    Example:
        >>> lstm, fc = torch.nn.LSTM(28, 64, 2), torch.nn.Linear(64, 10)
        >>> network = torch.nn.ModuleDict({"lstm": lstm, "fc": fc})
        >>> recognise(network.state_dict(), "a notebook")[:6]
        ('lstm', 28, 64, 2, False, True)
    """
    firsts = [name for name in tensors if name.endswith("weight_ih_l0")]
    if len(firsts) != 1:
        raise ModelError(
            source,
            expected="one recurrent network (…weight_ih_l0)",
            got=f"{len(firsts)} among {', '.join(sorted(tensors)[:6])}",
        )
    prefix = firsts[0].removesuffix("weight_ih_l0")
    name = re.compile(re.escape(prefix) + r"((weight|bias)_(ih|hh|hr)_l\d+(_reverse)?)")
    matched = {key: name.fullmatch(key) for key in tensors}
    recurrent = {m.group(1): tensors[key] for key, m in matched.items() if m}
    rest = {key: tensors[key] for key, m in matched.items() if not m}
    hh = recurrent.get("weight_hh_l0")
    if hh is None or hh.ndim != 2 or recurrent["weight_ih_l0"].ndim != 2:
        raise ModelError(source, expected=f"a matrix {prefix}weight_hh_l0", got="none")
    projected = "weight_hr_l0" in recurrent
    width = hh.shape[1]
    hidden = recurrent["weight_hr_l0"].shape[1] if projected else width
    blocks, left = divmod(hh.shape[0], max(hidden, 1))
    if left or blocks not in CELLS:
        raise ModelError(
            f"{source}, {prefix}weight_hh_l0",
            expected="4 (LSTM), 3 (GRU) or 1 (RNN) blocks of H rows",
            got=f"{tuple(hh.shape)}",
        )
    layers = 1 + max(int(re.findall(r"_l(\d+)", key)[0]) for key in recurrent)
    both = "weight_ih_l0_reverse" in recurrent
    heads = [
        key.removesuffix("weight")
        for key, value in rest.items()
        if key.endswith("weight") and value.ndim == 2 and value.shape[1] == width * (1 + both)
    ]
    expected = {f"{heads[0]}weight", f"{heads[0]}bias"} if len(heads) == 1 else set()
    if not expected or set(rest) != expected:
        raise ModelError(
            source,
            expected=f"one linear head (weight of (K, {width * (1 + both)}) and bias), no more",
            got=", ".join(f"{k} {tuple(v.shape)}" for k, v in sorted(rest.items())[:4]) or "none",
        )
    kind = CELLS[int(blocks)]
    if cell is not None and not (kind == "rnn" and cell in ("rnn", "rnn-relu")) and cell != kind:
        raise UsageError("cell", expected=kind, got=repr(cell))
    return Found(
        cell or ("lstmp" if projected else kind),
        recurrent["weight_ih_l0"].shape[1],
        hidden,
        layers,
        both,
        "bias_ih_l0" in recurrent,
        width if projected else 0,
        rest[f"{heads[0]}weight"].shape[0],
        recurrent,
        {"weight": rest[f"{heads[0]}weight"], "bias": rest[f"{heads[0]}bias"]},
    )


def task_of(
    found: Found,
    *,
    preparation: Preparation | None = None,
    labels: Sequence[str] | None = None,
    kind: str = "single",
    pooling: str | None = None,
) -> Classify:
    """The task that a recognised network does.

    Args:
        found: as `recognise` gives it.
        preparation: how its inputs were prepared; None: series (T, I) as they are.
        labels: names of the K outputs; None: numbers from 0.
        kind: "single", "multi" or "regression".
        pooling: as for `Classify`; None: the last step's output, `output[:, -1]`.

    Raises:
        ModelError: shapes disagree among layers, or with the preparation or the labels.
    """
    if labels is not None and len(labels) != found.outputs:
        raise ModelError("the head", expected=f"{len(labels)} outputs", got=found.outputs)
    try:
        recurrent = Recurrent(
            found.cell,
            found.input_size,
            found.hidden_size,
            found.num_layers,
            bidirectional=found.bidirectional,
            bias=found.bias,
            proj_size=found.proj_size,
        )
        task = Classify(
            recurrent,
            preparation or Preparation("series", (None, found.input_size)),
            list(labels or map(str, range(found.outputs))),
            kind,
            pooling=pooling or "step",
        )
        weights = {key: value.float() for key, value in found.recurrent.items()}
        task.model.recurrent.load_state_dict(weights)
        task.model.head.load_state_dict({k: v.float() for k, v in found.head.items()})
    except RuntimeError as error:
        got = " ".join(str(error).split())[:200]
        raise ModelError("the layers of the checkpoint do not fit together", got=got) from None
    for name, value in task.model.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"the checkpoint's {name}", expected="finite weights", got=math.nan)
    task.model.eval()
    return task
