"""A map of attention: what is written beside it can be told apart, and lies inside the picture."""

import io
import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from unrolled import UnrolledError
from unrolled.inspect.pictures import Style, attention, png

KOREAN = "나는 어제 친구 와 함께 긴 편지 를 읽었다 . <eos>".split()
ENGLISH = "I read a long letter with a friend yesterday . <eos>".split()


def weights(targets, sources):
    value = np.random.RandomState(0).rand(targets, sources) ** 6
    return value / value.sum(1, keepdims=True)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (KOREAN, ENGLISH),
        (["a"], ["b"]),
        (list("Wednesday, 25 November 2026") + ["<eos>"], list("2026-11-25")),
        ([f"word{k}" for k in range(90)], [f"word{k}" for k in range(70)]),
        (["a" * 40, " ", "\n"], ["x"]),
    ],
)
def test_names_beside_a_map_stay_apart_and_inside(source, target, dark):
    # without a font that draws Korean its letters are boxes of their size
    warnings.filterwarnings("ignore", message="Glyph")
    figure = attention(weights(len(target), len(source)), source, target, Style(dark), title="map")
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer, inside = figure.canvas.get_renderer(), figure.bbox.padded(2)
    axes = figure.axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        found = [t.get_window_extent(renderer) for t in labels if t.get_text()]
        assert len(found) <= 60
        for box, other in itertools.pairwise(found):
            assert not box.padded(-1).overlaps(other)
        for box in [*found, axes.xaxis.label.get_window_extent(renderer)]:
            assert inside.contains(*box.p0)
            assert inside.contains(*box.p1)


def test_the_more_is_looked_at_the_darker_it_is():
    data = png(lambda style: attention([[1.0, 0.0]], ["a", "b"], ["c"], style))
    grey = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(int)
    middle = grey[grey.shape[0] // 2]
    assert (middle < 120).sum() > 50 < (middle > 240).sum()


def test_weights_of_another_shape_are_refused():
    with pytest.raises(
        UnrolledError, match=r"expected \(1, 2\), targets and sources, got \(2, 1\)"
    ):
        attention([[1.0], [0.0]], ["a", "b"], ["c"], Style())
