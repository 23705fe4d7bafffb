"""Compiled cells as operators: compilers, exporters, fake tensors and functorch see one of them."""

import io

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from held import compiled_with
from near import assert_near
from unrolled.engine import compiled, operators
from unrolled.errors import BackendError, ShapeError
from unrolled.layers import LSTM, Recurrent

DOUBLE = torch.float64
LENGTHS = [4, 2, 0]


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    with compiled_with("-O0"):
        yield


@pytest.fixture
def x():
    return torch.randn(3, 4, 3, dtype=DOUBLE, requires_grad=True)


def layer(name="lstm", layers=1, **options):
    return Recurrent(name, 3, 4, layers, **{"backend": "c", "dtype": DOUBLE, **options})


def whole(function, **options):
    """The function as one graph: a break in it is an error."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager", **options)


def everything(made, x, call):
    """All results and gradients of one call."""
    torch.manual_seed(7)
    output, final, *seen = call(x)
    values = [output, *final.values(), *(seen[0].values() if seen else ())]
    loss = sum(value.sin().sum() for value in values)
    return [*values, *torch.autograd.grad(loss, [x, *made.parameters()], allow_unused=True)]


@pytest.mark.parametrize(
    ("name", "options", "given"),
    [
        ("gru", {}, {"lengths": torch.tensor(LENGTHS), "observe": ("z",)}),
        slow("lstm", {"layers": 2, "bidirectional": True}, {}),
        slow("lstm", {"layer_norm": True}, {"observe": ("h", "f")}),
        slow("slstm", {"layers": 2, "dropout": 0.3, "variational": 0.3, "zoneout": {"h": 0.2}}, {}),
        slow("lstmp", {"proj_size": 2, "weight_drop": 0.3}, {"lengths": LENGTHS}),
        slow("qrnn", {"learn_initial": True}, {}),
        slow("mingru", {"bias": False}, {}),
    ],
)
def test_a_model_is_one_graph_for_torch_compile(name, options, given, x):
    made = layer(name, **options)
    compiled_one = whole(made)
    got = everything(made, x, lambda v: compiled_one(v, **given))
    assert made.backend == "c"
    for have, want in zip(got, everything(made, x, lambda v: made(v, **given)), strict=True):
        assert (have is None) == (want is None)
        if want is not None:
            assert_near(have, want, 8)


@pytest.mark.slow
def test_compiling_takes_any_batch_and_length_and_trains_and_evaluates(x):
    made = layer("gru")
    one = whole(made, dynamic=True)
    for shape in ((3, 4), (5, 7), (2, 3)):
        v = torch.randn(*shape, 3, dtype=DOUBLE)
        assert_near(one(v)[0], made(v)[0], 8)
        with torch.no_grad():
            assert_near(one(v)[0], made(v)[0], 8)


def test_the_drop_in_and_auto_compile_too(x):
    made = LSTM(3, 4, batch_first=True, dtype=DOUBLE)
    assert_near(whole(made)(x)[0], made(x)[0], 8)
    assert made.backend == "c"


def test_autocast_inside_of_a_compiled_program():
    made, v = Recurrent("lstm", 3, 4, backend="c"), torch.randn(2, 3, 3)

    def program(v):
        with torch.autocast("cpu", torch.bfloat16):
            return made(v)[0]

    got, want = whole(program)(v), program(v)
    assert got.dtype == want.dtype == torch.bfloat16
    assert torch.equal(got, want)


def test_a_bfloat16_layer_compiles_to_the_bits_of_the_plain_call():
    made, v = layer("gru", dtype=torch.bfloat16), torch.randn(2, 3, 3, dtype=torch.bfloat16)
    got = everything(made, v.requires_grad_(), whole(made))
    for have, want in zip(got, everything(made, v, made), strict=True):
        assert have.dtype == want.dtype
        assert torch.equal(have, want)


def test_lengths_that_cannot_be_are_found_when_the_program_runs(x):
    one = whole(layer())
    one(x, lengths=torch.tensor([4, 4, 4]))
    with pytest.raises(ShapeError, match="expected numbers from 0 to T=4, got 2 to 9"):
        one(x, lengths=torch.tensor([4, 9, 2]))


def exported(made, x, **options):
    program = torch.export.export(made, (x.detach(),), **options)
    called = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    return program, sum("unrolled.sequence" in target for target in called)


def test_an_exported_program_carries_the_cell_and_any_shape(x):
    made = layer("gru")
    shapes = {"x": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    program, count = exported(made, x, dynamic_shapes=shapes)
    assert count == 1
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    read = torch.export.load(file).module()
    for shape in ((3, 4), (5, 7)):
        v = torch.randn(*shape, 3, dtype=DOUBLE)
        assert_near(read(v)[0], made(v)[0], 8)


def test_an_exported_program_can_be_trained(x):
    made = layer()
    program, _ = exported(made, x)
    (got,) = torch.autograd.grad(program.module()(x)[0].sin().sum(), x)
    (want,) = torch.autograd.grad(made(x)[0].sin().sum(), x)
    assert_near(got, want, 8)


def test_fake_tensors_and_graphs_see_shapes(x):
    made = layer(layers=2)
    with FakeTensorMode(allow_non_fake_inputs=True):
        output, final = made(torch.empty(5, 6, 3, dtype=DOUBLE))
        assert output.shape == (5, 6, 4)
        assert final["c"].shape == (2, 5, 4)
    graph = make_fx(lambda v: made(v)[0])(x.detach()).graph
    assert sum("unrolled.sequence" in str(node.target) for node in graph.nodes) == 2


@pytest.mark.parametrize(
    ("name", "options", "given"),
    [
        ("gru", {}, {"lengths": LENGTHS, "observe": ("z",)}),
        slow("lstm", {"layer_norm": True}, {"lengths": LENGTHS, "observe": ("f",)}),
        slow("lstmp", {"proj_size": 2}, {}),
        slow("gru-first", {"bidirectional": True, "variational": 0.3}, {}),
    ],
)
def test_pytorchs_own_check_of_operators(name, options, given, x, monkeypatch):
    calls = []
    monkeypatch.setattr(compiled, "_is_traced", lambda x: True)
    with monkeypatch.context() as patch:
        real = operators.sequence
        patch.setattr(operators, "sequence", lambda *a: calls.append(a) or real(*a))
        layer(name, **options)(x, **given)
    for given_tensors, *rest in calls:
        leaves = [v.detach().clone().requires_grad_() for v in given_tensors]
        torch.library.opcheck(operators.sequence, (leaves, *rest))


def test_vmap_maps_the_compiled_cell(x):
    made, many = layer(), torch.randn(3, 2, 4, 3, dtype=DOUBLE)
    for _ in range(2):
        mapped = torch.func.vmap(lambda v: made(v)[0])(many)
        assert made.backend == "c"
        for k in range(3):
            assert_near(mapped[k], made(many[k])[0], 8)
        many.requires_grad_()
    (got,) = torch.autograd.grad(mapped.sin().sum(), many)
    (want,) = torch.autograd.grad(made(many[1])[0].sin().sum(), many)
    assert_near(got[1], want[1], 8)


DERIVATIVES = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),))[1],
    "dual": lambda f, x: _dual(f, x),
    "per example": lambda f, x: torch.func.vmap(torch.func.grad(lambda v: f(v[None]).sum()))(x),
    "jacrev": lambda f, x: torch.func.jacrev(lambda v: f(v).sum())(x),
    "hessian": lambda f, x: torch.func.hessian(lambda v: f(v).sin().sum())(x[:1]),
}


def _dual(f, x):
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        return torch.autograd.forward_ad.unpack_dual(f(dual)).tangent


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, in jvp
@pytest.mark.parametrize("way", DERIVATIVES)
def test_other_derivatives_run_on_the_reference_or_say_that_they_cannot(way, x):
    made, derive = layer("peephole", backend="auto"), DERIVATIVES[way]
    got = derive(lambda v: made(v)[0], x.detach())
    assert made.backend == "reference"
    made.backend = "reference"
    assert_near(got, derive(lambda v: made(v)[0], x.detach()), 50)
    made.backend = "c"
    with pytest.raises(BackendError, match=r"has no .*derivative.*Take backend="):
        derive(lambda v: made(v)[0], x.detach())
    made(x)
    assert made.backend == "c"


def test_a_second_derivative_is_refused_and_never_left_out(x):
    """Of a plain sum, too, whose gradient arrives without a history of its own."""
    made, mapped = layer(), layer()
    for output in (made(x)[0], made(x)[0].sin(), torch.func.vmap(lambda v: mapped(v)[0])(x[None])):
        (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        with pytest.raises(BackendError, match="expected to be derived once") as error:
            gradient.square().sum().backward()
        assert 'Take backend="reference"' in str(error.value)


def test_what_a_gradient_was_computed_from_may_not_change_before_it(x):
    made = layer()
    output, _ = made(x)
    with torch.no_grad():
        made.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


def test_the_plain_call_does_not_pass_through_an_operator(x, monkeypatch):
    monkeypatch.setattr(operators, "sequence", lambda *a: pytest.fail("an operator was called"))
    made = layer()
    made(x)[0].sum().backward()
    with torch.no_grad():
        made(x)
    made.stream()(x[:1, 0].detach())
