"""A piece of work comes in; those who do it, each held to the same result first, go out.

The yardstick is the reference in float64; what the reference loses in the work's own precision says
how much anybody may lose. Ours is not timed when it is further off; a rival is, with a word about
it, as long as what it computes is the same thing.
"""

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import BackendError
from ..layers import Recurrent
from ..messages import tr
from .work import Work

SLACK = 32  # times what the plain loop loses against float64; other orders of summation differ
SLACK_IN_HALF = 2  # in bfloat16, where the loop rounds every value and every sum
ROUGH = 1024  # roundings: a rival this far off computes the same thing, and loses more than it need
KERNELS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
# The rival's class for a cell of the catalogue; it draws parameters of its own, laid out otherwise.
TORCHRECURRENT = {
    "lstm-1997": "OriginalLSTM",
    "peephole": "PeepholeLSTM",
    "multiplicative-lstm": "MultiplicativeLSTM",
    "mgu": "MGU",
    "ugrnn": "UGRNN",
    "ran": "RAN",
    "janet": "JANET",
    "minimalrnn": "MinimalRNN",
    "fastrnn": "FastRNN",
    "fastgrnn": "FastGRNN",
    "indrnn": "IndRNN",
    "lem": "LEM",
    "antisymmetric": "AntisymmetricRNN",
    "gated-antisymmetric": "GatedAntisymmetricRNN",
    "cornn": "coRNN",
    "unicornn": "UnICORNN",
    "scrn": "SCRN",
}


IN_FLOAT32 = "ours in float32"
KEYS = ("unrolled", IN_FLOAT32, "torch.nn", "loop", "torchrecurrent")


@dataclass
class Contender:
    """Somebody who does the work.

    Args:
        name: as it is reported.
        call: does it once.
        checked: whether its result was compared with the reference's.
        loses: what it loses more of than ours may, in a rival alone.
        key: which of `KEYS` it is.
        clock: seconds.
    """

    name: str
    call: Callable[[], object]
    checked: bool = True
    loses: str = ""
    key: str = ""
    clock: Callable[[], float] = time.perf_counter

    def seconds(self, repeats: int, *, warm: bool = False) -> float:
        """How long it takes to do the work so many times; `warm`: once more before that."""
        if warm:
            self.call()
        begun = self.clock()
        for _ in range(repeats):
            self.call()
        return self.clock() - begun


def contenders(work: Work, backend: str = "auto", rivals: tuple[str, ...] = ()) -> list[Contender]:
    """Ours first, then the rivals that know this cell.

    Args:
        work: what is timed.
        backend: ours.
        rivals: of `ours in float32` (where the work is in bfloat16), `torch.nn`, `loop` and
            `torchrecurrent`; all that there are where empty.

    Raises:
        BackendError: somebody computes something wrong, or ours cannot run this.
    """
    ours, x, towards = _given(work, backend)
    exact = _like(ours, _layer(work, "reference", torch.float64))
    truth = _results(exact, x.double(), towards.double(), work.training)
    loop = _like(ours, _layer(work, "reference", x.dtype))
    lost = _distances(truth, _results(loop, x, towards, work.training))
    found = []
    for key in KEYS:
        if key != "unrolled" and rivals and key not in rivals:
            continue
        module = _module(key, work, ours, backend)
        if module is None:
            continue
        kind = torch.float32 if key == IN_FLOAT32 else x.dtype
        given = (module, x.to(kind), towards.to(kind), work.training)
        checked, loses = key != "torchrecurrent", ""
        if checked:
            loses = _hold(key, work, truth, lost, _results(*given))
        label = f"unrolled ({ours.backend})" if key == "unrolled" else key
        found.append(Contender(label, _call(*given), checked, loses, key))
    return found


def alone(work: Work, key: str, backend: str = "auto") -> Contender:
    """One of them, not checked: for a process of its own."""
    ours, x, towards = _given(work, backend)
    kind = torch.float32 if key == IN_FLOAT32 else x.dtype
    module = _module(key, work, ours, backend)
    assert module is not None  # it was found when all were checked
    return Contender(key, _call(module, x.to(kind), towards.to(kind), work.training), key=key)


def _given(work: Work, backend: str) -> tuple[Recurrent, Tensor, Tensor]:
    """Our layer, an input, and what its output is multiplied with: the same in every process."""
    torch.manual_seed(0)
    dtype, s = getattr(torch, work.dtype), work.shape
    ours = _layer(work, backend, dtype)
    x = torch.randn(s.batch, s.steps, s.inputs, dtype=dtype)
    return ours, x, torch.randn(s.batch, s.steps, ours.output_size, dtype=dtype)


def _module(key: str, work: Work, ours: Recurrent, backend: str) -> nn.Module | None:
    """What does the work for one of `KEYS`; `None` where it does not know the cell."""
    dtype = getattr(torch, work.dtype)
    if key == "unrolled":
        return ours
    if key == IN_FLOAT32:
        half = dtype == torch.bfloat16
        return _like(ours, _layer(work, backend, torch.float32)) if half else None
    if key == "torch.nn":
        return _torch_nn(work, ours, dtype)
    if key == "loop":
        return _like(ours, _layer(work, "reference", dtype))
    return _torchrecurrent(work, dtype)


def _layer(work: Work, backend: str, dtype: torch.dtype) -> Recurrent:
    s = work.shape
    layer = Recurrent(work.cell, s.inputs, s.units, s.layers, backend=backend, dtype=dtype)
    return layer.train(work.training)


def _like(ours: Recurrent, other: Recurrent) -> Recurrent:
    other.load_state_dict(ours.state_dict())
    return other


def _torch_nn(work: Work, ours: Recurrent, dtype: torch.dtype) -> nn.Module | None:
    kernel, s = ours.cell.kernel, work.shape
    if kernel not in KERNELS or ours.cell.projs:
        return None
    options = {"nonlinearity": "relu"} if kernel == "rnn_relu" else {}
    make = getattr(nn, KERNELS[kernel])
    rival = make(s.inputs, s.units, s.layers, batch_first=True, dtype=dtype, **options)
    rival.load_state_dict(ours.state_dict())
    return rival.train(work.training)


def _torchrecurrent(work: Work, dtype: torch.dtype) -> nn.Module | None:
    if work.cell not in TORCHRECURRENT:
        return None
    try:
        package = importlib.import_module("torchrecurrent")
    except ImportError:
        return None
    s = work.shape
    make = getattr(package, TORCHRECURRENT[work.cell])
    return make(s.inputs, s.units, num_layers=s.layers, batch_first=True).to(dtype)


def _call(module: nn.Module, x: Tensor, towards: Tensor, training: bool) -> Callable[[], object]:
    parameters = list(module.parameters())

    def train():
        for p in parameters:
            p.grad = None
        module(x)[0].backward(towards)

    def infer():
        with torch.no_grad():
            return module(x)

    return train if training else infer


def _results(module: nn.Module, x: Tensor, towards: Tensor, training: bool) -> dict[str, Tensor]:
    """The output and, in training, every gradient by name."""
    if not training:
        with torch.no_grad():
            return {"output": module(x)[0]}
    module.zero_grad(set_to_none=True)
    output = module(x)[0]
    output.backward(towards)
    grads = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return {"output": output.detach(), **{f"d {n}": g.clone() for n, g in grads.items()}}


def _distances(truth: dict[str, Tensor], got: dict[str, Tensor]) -> dict[str, float]:
    return {
        name: float((want - got[name].double()).abs().max()) if name in got else float("inf")
        for name, want in truth.items()
    }


def _hold(name, work: Work, truth, lost, got) -> str:
    """What a rival loses more of than ours may; a `BackendError` where a result is another."""
    epsilon = torch.finfo(getattr(torch, work.dtype)).eps
    loses = ""
    for key, distance in _distances(truth, got).items():
        rounding = epsilon * max(1e-3, float(truth[key].abs().max()))
        slack = SLACK_IN_HALF if work.dtype == "bfloat16" else SLACK
        bound = slack * max(lost[key], rounding)
        if distance <= bound:
            continue
        if name == "unrolled" or not distance <= ROUGH * rounding:
            raise BackendError(
                f"no time is reported: {key} of {name}, {work.cell}, {work.shape}",
                expected=f"the reference's in float64, up to {bound:.2g}",
                got=f"{distance:.2g} away from it",
                fix="Please report it.",
            )
        loses = tr(
            "{value} lies {distance} from float64's; ours may lose {bound}",
            value=key,
            distance=f"{distance:.2g}",
            bound=f"{bound:.2g}",
        )
    return loses
