"""`LSTM`, `GRU` and `RNN` with the arguments, calls, results and parameters of `torch.nn`'s.

A `state_dict` moves across in both directions, and one seed gives both the same parameters.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..cells import find
from ..engine.traced import Traced
from ..errors import ShapeError, UsageError
from .checks import checked_input, checked_lengths
from .stack import Stack


class _TorchLike(Stack):
    """What the three have in common: the call of `torch.nn.RNNBase`."""

    batch_first: bool

    def __init__(self, traced: Traced, *sizes: int, batch_first: bool, **options: Any):
        super().__init__(traced, *sizes, **options)
        self.batch_first = bool(batch_first)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"dropout={self.dropout} acts between layers, and num_layers=1: nothing is dropped",
                stacklevel=3,
            )

    def flatten_parameters(self) -> None:
        """Does nothing; it is there because programs call it."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters by layer and direction, as `torch.nn.RNNBase` lists them."""
        return [
            list(self._named(layer, direction).values())
            for layer in range(self.num_layers)
            for direction in range(self.directions)
        ]

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        """As `torch.nn`'s: (T, B, I), (B, T, I) with `batch_first`, (T, I), or packed sequences.

        Returns:
            Output as the input came, and h_n, or (h_n, c_n) for the LSTM, each (D·L, B, width).

        Raises:
            ShapeError: the input or hx does not fit.
        """
        if isinstance(input, PackedSequence):
            checked_input(input.data, self.input_size, "N, I", next(self.parameters(), None))
            padded, lengths = pad_packed_sequence(input)
            output, final = self._call(padded, hx, lengths)
            return _packed(output, lengths, input), final
        given = self._given(input, hx)
        if given and (answer := self._repeated(given, self.batch_first)):
            return answer.output, self._handed(answer.states)
        weight = next(self.parameters(), None)
        single = isinstance(input, Tensor) and input.dim() == 2
        dims = "T, I" if single else "B, T, I" if self.batch_first else "T, B, I"
        checked_input(input, self.input_size, dims, weight)
        if single:
            output, final = self._call(input.unsqueeze(1), _add_batch(hx), None)
            return output.squeeze(1), _drop_batch(final)
        if self.batch_first:
            output, final = self._call(input.transpose(0, 1), hx, None, given)
            return output.transpose(0, 1), final
        return self._call(input, hx, None, given)

    def _given(self, x: Tensor, hx: Any) -> list[Any] | None:
        """What a call gives that may repeat another: x, and all states or none."""
        if hx is None:
            return [x]
        if len(self.cell.states) == 1:
            return None if isinstance(hx, tuple) else [x, hx]
        fits = isinstance(hx, tuple) and len(hx) == len(self.cell.states)
        return [x, *hx] if fits else None

    def _call(
        self, x: Tensor, hx, lengths, whole: Sequence[Any] | None = None
    ) -> tuple[Tensor, Any]:
        steps, batch = x.shape[:2]
        if steps == 0:
            raise ShapeError("the input", expected="at least one step", got="T=0")
        names = self.cell.states
        if hx is None:
            given = {}
        elif len(names) == 1:
            given = {names[0]: hx}
        elif isinstance(hx, (tuple, list)) and len(hx) == len(names):
            given = dict(zip(names, hx, strict=True))
        else:
            got = f"a {type(hx).__name__}" + (f" of {len(hx)}" if isinstance(hx, tuple) else "")
            raise ShapeError("hx", expected=f"({', '.join(names)})", got=got)
        states = self._first_states(given or None, batch, x)
        answer = self.run(x, states, checked_lengths(lengths, steps, batch), ())
        if whole is not None:
            self._remember(answer, whole, self.batch_first)
        return answer.output, self._handed(answer.states)

    def _handed(self, final: Mapping[str, Tensor]) -> Any:
        """Last states as `torch.nn`'s layers hand them out."""
        names = self.cell.states
        return final[names[0]] if len(names) == 1 else tuple([final[s] for s in names])


def _packed(output: Tensor, lengths: Tensor, like: PackedSequence) -> PackedSequence:
    order = like.sorted_indices
    if order is not None:
        output, lengths = output[:, order], lengths[order.cpu()]
    data, sizes, *_ = pack_padded_sequence(output, lengths)
    return PackedSequence(data, sizes, like.sorted_indices, like.unsorted_indices)


def _add_batch(hx):
    if isinstance(hx, (tuple, list)):
        return tuple(map(_add_batch, hx))
    return hx.unsqueeze(1) if isinstance(hx, Tensor) and hx.dim() else hx


def _drop_batch(final):
    pair = isinstance(final, tuple)
    return tuple(f.squeeze(1) for f in final) if pair else final.squeeze(1)


class LSTM(_TorchLike):
    """`torch.nn.LSTM`, drop-in; `backend` beside its arguments.

    Example:
        >>> import torch
        >>> output, (h, c) = LSTM(3, 5, batch_first=True)(torch.zeros(2, 4, 3))
        >>> output.shape, c.shape
        (torch.Size([2, 4, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device=None,
        dtype=None,
        *,
        backend: str = "auto",
    ):
        super().__init__(
            find("lstmp" if proj_size else "lstm").trace(),
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            backend=backend,
            device=device,
            dtype=dtype,
            batch_first=batch_first,
        )


class GRU(_TorchLike):
    """`torch.nn.GRU`, drop-in; `backend` beside its arguments.

    Example:
        >>> import torch
        >>> output, h = GRU(3, 5)(torch.zeros(4, 2, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype=None,
        *,
        backend: str = "auto",
    ):
        super().__init__(
            find("gru").trace(),
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            dropout=dropout,
            bidirectional=bidirectional,
            backend=backend,
            device=device,
            dtype=dtype,
            batch_first=batch_first,
        )


class RNN(_TorchLike):
    """`torch.nn.RNN`, drop-in, with `nonlinearity` tanh or relu; `backend` beside its arguments.

    Example:
        >>> import torch
        >>> output, h = RNN(3, 5, nonlinearity="relu")(torch.zeros(4, 2, 3))
        >>> output.shape, h.shape
        (torch.Size([4, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device=None,
        dtype=None,
        *,
        backend: str = "auto",
    ):
        cells = {"tanh": "rnn", "relu": "rnn-relu"}
        if nonlinearity not in cells:
            raise UsageError("nonlinearity", expected="tanh or relu", got=repr(nonlinearity))
        super().__init__(
            find(cells[nonlinearity]).trace(),
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            dropout=dropout,
            bidirectional=bidirectional,
            backend=backend,
            device=device,
            dtype=dtype,
            batch_first=batch_first,
        )
        self.nonlinearity = nonlinearity
