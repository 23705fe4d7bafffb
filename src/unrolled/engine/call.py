"""What one layer hands to the engine for one direction, and what comes back: the boundary.

Everything above (depth, direction, dropout between layers, tied and derived matrices) is PyTorch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .traced import Traced

if TYPE_CHECKING:
    from torch import Tensor

    from .call_cache import CachedCall


@dataclass
class Params:
    """The effective parameters of one layer and direction.

    Args:
        x_weight: (Gx·H, K), K = window · I; `None` for a cell that reads no input.
        x_bias: (Gx·H), or `None`; `None` too where layer norm carries it.
        u_weight: (Gu·H, H or P), u_bias: (Gu·H); `None` for a cell without U.
        weights: name → (H).
        norms: name → (gain, bias), each (H or P), the bias or `None`.
        projs: name → (P, H).
        masks: name → (B, H or P), one draw for the whole sequence.
        noises: state → (T, B, H or P), one draw a time.
    """

    x_weight: "Tensor | None" = None
    x_bias: "Tensor | None" = None
    u_weight: "Tensor | None" = None
    u_bias: "Tensor | None" = None
    weights: Mapping[str, "Tensor"] = field(default_factory=dict)
    norms: Mapping[str, tuple["Tensor", "Tensor | None"]] = field(default_factory=dict)
    projs: Mapping[str, "Tensor"] = field(default_factory=dict)
    masks: Mapping[str, "Tensor"] = field(default_factory=dict)
    noises: Mapping[str, "Tensor"] = field(default_factory=dict)


class Initial(Mapping[str, "Tensor"]):
    """First states that nobody gave, those that the cell says: made where somebody reads them.

    A backend that knows them makes no tensors of them and does not multiply zeros.

    Args:
        like: of this dtype, on this device.
        shapes: name → shape.
        values: name → what all of it is.
    """

    def __init__(
        self, like: "Tensor", shapes: Mapping[str, tuple[int, ...]], values: Mapping[str, float]
    ):
        # What is kept of a call must not keep the graph below it.
        self._like = like.detach() if like.requires_grad else like
        self._shapes, self._values = shapes, values

    def __getitem__(self, name: str) -> "Tensor":
        return self._like.new_full(self._shapes[name], self._values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def row(self) -> "Initial":
        """Those of one layer and direction, where there is a row for each."""
        shapes = {name: shape[1:] for name, shape in self._shapes.items()}
        return Initial(self._like, shapes, self._values)


@dataclass
class Call:
    """One layer, one direction.

    Args:
        traced: the cell, options of the layer included.
        x: (T, B, K).
        states: name → (B, H or P), all of them; `Initial` where the layer starts by itself.
        params: the effective parameters.
        lengths: (B) of int64 on the CPU, or `None` where all are T.
        reverse: whether to run from each sequence's last valid step to its first.
        observe: names of states and observed values to record at every step.
        training: whether gradients may be asked for.
        precision: in what it is computed, once that was looked up.
        watch: told after the backward pass, by a backend that can: state → ∂L/∂ of it after each
            step, (T, B, width) in the order of the input's time, 0 where padded.
    """

    traced: Traced
    x: "Tensor"
    states: Mapping[str, "Tensor"]
    params: Params
    lengths: "Tensor | None" = None
    reverse: bool = False
    observe: tuple[str, ...] = ()
    training: bool = True
    precision: Any = None
    watch: "Callable[[dict[str, Tensor]], None] | None" = None


@dataclass
class Answer:
    """What a backend computed.

    Args:
        output: (T, B, H or P), the first state at every step, 0 where padded.
        states: name → (B, H or P), each sequence's last valid step; (L·D, B, H or P) of layers.
        observed: name → (T, B, width), in the order of the input's time, 0 where padded;
            (L·D, T, B, width) of layers.
        cached: from whether x is (B, T, I) to what answers calls like this one sooner, or `None`;
            of a backend that has such.
    """

    output: "Tensor"
    states: dict[str, "Tensor"]
    observed: dict[str, "Tensor"]
    cached: "Callable[[bool], CachedCall | None] | None" = None
