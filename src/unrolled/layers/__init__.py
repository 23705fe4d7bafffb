"""Recurrent layers: a batch of sequences comes in, an output a step and the last states go out.

In order: `parameters` (names, shapes, first values, effective matrices), `stack` (depth, direction,
options), `stream` (step by step), `recurrent` (any cell), `torch_like` (drop-ins for `torch.nn`).
"""

from .recurrent import Recurrent, RecurrentCell
from .stream import Stream
from .torch_like import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "RecurrentCell", "Stream"]
