"""What happens between steps, by an oracle: a stack as a loop, its states leaves of autograd."""

import torch

from unrolled.layers import Recurrent

DOUBLE = torch.float64


def a_layer(cell, inputs, units, layers=1, *, spread=0.3, **options):
    """A layer in float64 whose parameters all differ from their first values."""
    layer = Recurrent(cell, inputs, units, layers, dtype=DOUBLE, **options)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(spread * torch.randn_like(p))
    return layer


def singles(layer):
    """The layers of a stack in one direction, each as a layer by itself."""
    for k in range(layer.num_layers):
        inputs = layer.input_size if k == 0 else layer.width
        one = Recurrent(
            layer.cell, inputs, layer.hidden_size, backend="reference", dtype=DOUBLE,
            proj_size=layer.proj_size, layer_norm=layer.layer_norm, zoneout=layer.zoneout,
            bias=layer.bias,
        )  # fmt: skip
        mine = {n: v for n, v in layer.state_dict().items() if n.endswith(f"_l{k}")}
        one.load_state_dict({n.replace(f"_l{k}", "_l0"): v for n, v in mine.items()})
        yield one.eval()


def stepped(layer, x):
    """Output (B, T, H), and for each layer a list of states: before all steps, and after each."""
    first, stack = layer.cell.states[0], list(singles(layer))
    history = [
        [{k: v.clone().requires_grad_() for k, v in one.initial_states(len(x), x).items()}]
        for one in stack
    ]
    outputs = []
    for t in range(x.shape[1]):
        value = x[:, t]
        for one, states in zip(stack, history, strict=True):
            states.append(one.step(value, states[-1])[1])
            value = states[-1][first][0]
        outputs.append(value)
    return torch.stack(outputs, 1), history


def gradients(loss, history, names):
    """For each layer: state → (T + 1, B, width), ∂L/∂ of it, by autograd."""
    flat = [states[s] for one in history for states in one for s in names]
    grads = torch.autograd.grad(loss, flat, allow_unused=True, retain_graph=True)
    known = iter(torch.zeros_like(v) if g is None else g for v, g in zip(flat, grads, strict=True))
    found = []
    for one in history:
        rows = [{s: next(known)[0] for s in names} for _ in one]
        found.append({s: torch.stack([row[s] for row in rows]) for s in names})
    return found
