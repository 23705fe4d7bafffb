"""Cells that ONNX has too equal ONNX Runtime's, whose layouts and formulas are another's."""

import numpy as np
import pytest
import torch

from unrolled.layers import Recurrent

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

T, B, I, H = 7, 3, 5, 6


def session(operator, arrays, **attributes):
    """A model of one operator: the sequence is its input, the parameters are constants."""
    h = onnx.helper
    inputs = ["x", *(name if value is not None else "" for name, value in arrays.items())]
    states = ["y_c"] if operator == "LSTM" else []
    node = h.make_node(operator, inputs, ["y", "y_h", *states], hidden_size=H, **attributes)
    kind = onnx.TensorProto.FLOAT
    graph = h.make_graph(
        [node],
        "one",
        [h.make_tensor_value_info("x", kind, [T, B, I])],
        [h.make_tensor_value_info("y", kind, None)],
        [onnx.numpy_helper.from_array(v, k) for k, v in arrays.items() if v is not None],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 14)], ir_version=8)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def ready(name):
    layer = Recurrent(name, I, H, batch_first=False, backend="reference")
    with torch.no_grad():
        for value in layer.parameters():
            value.normal_(0.0, 0.5)
    return layer, torch.randn(T, B, I)


def rows(layer, gates, order):
    """W, R and B of ONNX: the gates in its order; one that the cell lacks is zero."""
    found = []
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        value = getattr(layer, f"{name}_l0").detach().numpy()
        blocks = dict(zip(gates.split(), np.split(value, len(gates.split())), strict=True))
        nothing = np.zeros_like(value[:H])
        found.append(np.concatenate([blocks.get(g, nothing) for g in order.split()])[None])
    w, r, bx, bu = found
    return {"w": w, "r": r, "b": np.concatenate([bx, bu], 1)}


def assert_equal(session, layer, x):
    (y,) = session.run(["y"], {"x": x.numpy()})
    # Float32, and ONNX Runtime's own polynomials for sigmoid and tanh.
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), y[:, 0], rtol=0, atol=5e-6)


def test_peephole_is_onnxs_with_its_third_bias_input():
    layer, x = ready("peephole")
    peepholes = [getattr(layer, f"w_{k}_l0").detach().numpy() for k in "iof"]
    rest = {"lengths": None, "h": None, "c": None, "p": np.concatenate(peepholes)[None]}
    assert_equal(session("LSTM", rows(layer, "i f g o", "i o f g") | rest), layer, x)


def test_coupled_gates_are_onnxs_input_forget():
    layer, x = ready("coupled-lstm")
    arrays = rows(layer, "i g o", "i o f g")
    assert_equal(session("LSTM", arrays, input_forget=1), layer, x)


def test_lstm_is_onnxs():
    layer, x = ready("lstm")
    assert_equal(session("LSTM", rows(layer, "i f g o", "i o f g")), layer, x)


@pytest.mark.parametrize(("name", "after"), [("gru", 1), ("gru-first", 0)])
def test_both_grus_are_onnxs(name, after):
    layer, x = ready(name)
    arrays = rows(layer, "r z n", "z r n")
    assert_equal(session("GRU", arrays, linear_before_reset=after), layer, x)
    with pytest.raises(AssertionError, match="Mismatched"):  # and they are two
        assert_equal(session("GRU", arrays, linear_before_reset=1 - after), layer, x)
