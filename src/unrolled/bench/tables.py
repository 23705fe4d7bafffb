"""The tables of docs/performance.md: names come in, rows with their rivals and targets go out."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import UsageError
from .work import Shape, Work

NETWORK = Shape(100, 28, 28, 128, 2)
SHAPES = (
    Shape(32, 100, 64, 256),
    Shape(8, 200, 64, 64),
    Shape(256, 50, 128, 512),
    Shape(1, 1000, 40, 96),
    Shape(64, 784, 1, 128),
)
STREAM = Shape(1, 1, 64, 128, 2)
POINTWISE = ("peephole", "coupled-lstm", "mgu", "ugrnn", "ran", "janet", "lstm-1997", "slstm")
PHASED = ("gru-first", "lstmp", "layernorm-lstm", "multiplicative-lstm", "lem", "minimalrnn")


@dataclass(frozen=True)
class Row:
    """A piece of work and what is wanted of it.

    Args:
        work: what is timed.
        rivals: who else is timed, each with the most that ours may take of its median.
        share: the least share of the machine's peak.
        stream: whether it is one step of a stream.
    """

    work: Work
    rivals: dict[str, float | None] = field(default_factory=dict)
    share: float | None = None
    stream: bool = False


def _network() -> Iterator[Row]:
    yield Row(Work("lstm", NETWORK), {"torch.nn": 0.55}, share=320 / 464)
    yield Row(Work("gru", NETWORK), {"torch.nn": 0.35})
    yield Row(Work("rnn", NETWORK), {"torch.nn": 0.40})
    yield Row(Work("lstm", NETWORK, training=False), {"torch.nn": 0.90})
    yield Row(Work("gru", NETWORK, training=False), {"torch.nn": 0.45})


def _loops(cells: tuple[str, ...], most: float) -> Iterator[Row]:
    for cell in cells:
        yield Row(Work(cell, NETWORK), {"loop": most, "torchrecurrent": None})


def _shapes() -> Iterator[Row]:
    for training in (True, False):
        for shape in SHAPES:
            for cell in ("lstm", "gru"):
                yield Row(Work(cell, shape, training), {"torch.nn": 1.05})


TABLES = {
    "network": lambda: _network(),
    "pointwise": lambda: _loops(POINTWISE, 0.25),
    "phased": lambda: _loops(PHASED, 0.35),
    "shapes": lambda: _shapes(),
    "stream": lambda: iter(
        [
            Row(
                Work("lstm", STREAM, training=False),
                {
                    "nn.LSTM": 0.08,
                    "ONNX Runtime, bound": 0.75,
                    "nn.LSTMCell": None,
                    "NumPy": None,
                },
                stream=True,
            )
        ]
    ),
    "scan": lambda: iter([Row(Work("mingru", Shape(1, 16384, 256, 256)), {"loop": 0.04})]),
    "large": lambda: iter(
        [Row(Work("lstm", Shape(256, 50, 512, 512)), {"torch.nn": None}, share=0.78)]
    ),
    "half": lambda: iter(
        [
            Row(Work("lstm", shape, dtype="bfloat16"), {"ours in float32": most, "torch.nn": None})
            for shape, most in ((Shape(256, 50, 512, 512), 0.65), (NETWORK, 1.0))
        ]
    ),
}


def rows(name: str) -> list[Row]:
    """The rows of a table.

    Raises:
        UsageError: there is no such table.

    Example:
        >>> [row.work.cell for row in rows("scan")]
        ['mingru']
    """
    if name not in TABLES:
        raise UsageError("--preset", expected=f"one of {', '.join(TABLES)}", got=repr(name))
    return list(TABLES[name]())
