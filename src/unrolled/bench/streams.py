"""A network comes in; who runs one step of one stream of it, each held to one result, goes out.

Sensors and live text are read so: one step, then an answer. Weights are the same for all.
"""

import importlib
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BackendError
from ..layers import Recurrent
from .contenders import Contender
from .work import Shape

STEPS = 20  # of the check
NEAR = 2e-5  # float32 after so many steps, with everybody's own sigmoid and tanh


def stream_contenders(shape: Shape, backend: str = "auto") -> list[Contender]:
    """An LSTM's step by ours, `torch.nn.LSTM`, a chain of `LSTMCell`, NumPy and ONNX Runtime.

    Args:
        shape: I, H and L count; there is one stream and one step.
        backend: ours.

    Raises:
        BackendError: somebody computes something else.
    """
    torch.manual_seed(0)
    layer = Recurrent("lstm", shape.inputs, shape.units, shape.layers, backend=backend).eval()
    xs = torch.randn(STEPS, 1, shape.inputs)
    with torch.no_grad():
        expected = layer.double()(xs.double().transpose(0, 1))[0][0]
    layer.float()
    stream = layer.stream()
    makers: dict[str, Callable[[Tensor], object]] = {
        f"unrolled ({stream.backend})": stream,
        "nn.LSTM": _module(layer, shape),
        "nn.LSTMCell": _cells(layer, shape),
        "NumPy": _numpy(layer, shape),
    }
    if (runtime := _onnx(layer, shape)) is not None:
        makers["ONNX Runtime, bound"] = runtime
    found = []
    for name, step in makers.items():
        rows = [torch.as_tensor(step(x)).clone().reshape(-1) for x in xs]
        worst = float((torch.stack(rows).double() - expected).abs().max())
        if not worst <= NEAR:
            raise BackendError(
                f"no time is reported: a step of {name}",
                expected=f"the reference's in float64, up to {NEAR:.2g}",
                got=f"{worst:.2g} away from it",
                fix="Please report it.",
            )
        found.append(Contender(name, partial(step, xs[0])))
    return found


def _module(layer: Recurrent, shape: Shape):
    rival = nn.LSTM(shape.inputs, shape.units, shape.layers)
    rival.load_state_dict(layer.state_dict())
    held: list = [None]

    def step(x: Tensor):
        with torch.no_grad():
            output, held[0] = rival(x.unsqueeze(0), held[0])
        return output[0]

    return step


def _cells(layer: Recurrent, shape: Shape):
    cells, states = [], []
    for k in range(shape.layers):
        cell = nn.LSTMCell(shape.units if k else shape.inputs, shape.units)
        named = {name.removesuffix(f"_l{k}"): v for name, v in layer.state_dict().items()}
        cell.load_state_dict({n: v for n, v in named.items() if n in cell.state_dict()})
        cells.append(cell)
        states.append((torch.zeros(1, shape.units), torch.zeros(1, shape.units)))

    def step(x: Tensor):
        with torch.no_grad():
            for k, cell in enumerate(cells):
                states[k] = cell(x, states[k])
                x = states[k][0]
        return x

    return step


def _numpy(layer: Recurrent, shape: Shape):
    weights = {n: v.numpy().copy() for n, v in layer.state_dict().items()}
    both = [
        np.concatenate([weights[f"weight_ih_l{k}"], weights[f"weight_hh_l{k}"]], 1)
        for k in range(shape.layers)
    ]
    biases = [weights[f"bias_ih_l{k}"] + weights[f"bias_hh_l{k}"] for k in range(shape.layers)]
    hs = [np.zeros(shape.units, np.float32) for _ in both]
    cs = [np.zeros(shape.units, np.float32) for _ in both]

    def step(x: Tensor):
        value = x.numpy()[0]
        for k, matrix in enumerate(both):
            i, f, g, o = np.split(matrix @ np.concatenate([value, hs[k]]) + biases[k], 4)
            i, f, o = (1 / (1 + np.exp(-v)) for v in (i, f, o))
            cs[k] = f * cs[k] + i * np.tanh(g)
            value = hs[k] = o * np.tanh(cs[k])
        return value

    return step


def _onnx(layer: Recurrent, shape: Shape):
    """ONNX Runtime on one thread, its buffers bound once; states stay in them."""
    try:
        onnx, onnxruntime = map(importlib.import_module, ("onnx", "onnxruntime"))
    except ImportError:
        return None
    h, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes, constants, inputs, outputs = [], [], [("x", [1, 1, shape.inputs])], []
    before = "x"
    for k in range(shape.layers):
        arrays = _onnx_weights(layer, k, shape.units)
        constants += [onnx.numpy_helper.from_array(v, f"{n}{k}") for n, v in arrays.items()]
        names = [before, f"w{k}", f"r{k}", f"b{k}", "", f"h{k}", f"c{k}"]
        results = [f"y{k}", f"hn{k}", f"cn{k}"]
        nodes.append(h.make_node("LSTM", names, results, hidden_size=shape.units))
        inputs += [(f"{s}{k}", [1, 1, shape.units]) for s in "hc"]
        outputs += [(f"{s}n{k}", [1, 1, shape.units]) for s in "hc"]
        before = f"f{k}"
        nodes.append(h.make_node("Squeeze", [f"y{k}", "axis"], [before]))
    constants.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "axis"))
    graph = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info(n, kind, s) for n, s in inputs],
        [h.make_tensor_value_info(n, kind, s) for n, s in outputs],
        constants,
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 14)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    held = {n: value(np.zeros(s, np.float32)) for n, s in inputs}
    others = {n: value(np.zeros(s, np.float32)) for n, s in outputs}
    turns = []
    # States are read from one set of buffers and written to the other, in turn: nothing is copied.
    for read, written in ((held, others), (others, held)):
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", held["x"])
        for n, _ in outputs:
            old = n.replace("n", "")
            first, second = (old, n) if read is held else (n, old)
            binding.bind_ortvalue_input(old, read[first])
            binding.bind_ortvalue_output(n, written[second])
        turns.append((binding, written[f"hn{shape.layers - 1}" if read is held else _last(shape)]))
    at = [0]

    def step(x: Tensor):
        held["x"].update_inplace(x.numpy().reshape(1, 1, -1))
        binding, answer = turns[at[0]]
        at[0] ^= 1
        session.run_with_iobinding(binding)
        return answer.numpy()

    return step


def _last(shape: Shape) -> str:
    return f"h{shape.layers - 1}"


def _onnx_weights(layer: Recurrent, k: int, units: int) -> dict[str, np.ndarray]:
    """W, R and B in ONNX's order of gates, i o f g."""
    found = {}
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        i, f, g, o = np.split(layer.state_dict()[f"{name}_l{k}"].numpy(), 4)
        found[name] = np.concatenate([i, o, f, g])[None]
    biases = np.concatenate([found["bias_ih"], found["bias_hh"]], 1)
    return {"w": found["weight_ih"], "r": found["weight_hh"], "b": biases}
