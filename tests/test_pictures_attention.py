"""A map of attention: what is written beside it can be told apart, and lies inside the picture."""

import io
import itertools
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from unrolled import UnrolledError, messages
from unrolled.inspect.pictures import Style, attention, png
from unrolled.inspect.pictures.saying import saying
from unrolled.inspect.spoken import Parts

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


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize(
    ("read", "said", "recurrent"),
    [
        (["image"], ["five", " hundred", ",", "<eos>"], False),
        (["ein"], ["one", "<eos>"], True),
        (list("Wednesday, 25 November"), ["incomprehensibly", *"2026-11-25", "<eos>"], True),
        (KOREAN, ["a letter"] * 3, True),
    ],
)
def test_what_is_written_in_a_network_that_says_things_stays_apart(
    read, said, recurrent, fed, language
):
    warnings.filterwarnings("ignore", message="Glyph")
    parts = Parts(read, said, "layernormlstm" if recurrent else "cnn", "layernormlstm",
                  both=True, recurrent=recurrent, looks=True, start="state", fed=fed)  # fmt: skip
    messages.use(language)
    try:
        figure = saying(parts, Style())
    finally:
        messages.use("en")
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        texts = [t for t in axes.texts if t.get_text()]
        boxes = [t.get_window_extent(renderer) for t in texts]
        for k, box in enumerate(boxes):
            name = texts[k].get_text()
            assert figure.bbox.padded(2).contains(*box.p0), name
            assert figure.bbox.padded(2).contains(*box.p1), name
            for other in boxes[:k]:
                assert not box.padded(-1).overlaps(other), name
            for frame in axes.patches:
                edges = frame.get_window_extent(renderer)
                inside = edges.contains(*box.p0) and edges.contains(*box.p1)
                assert inside or not box.padded(-1).overlaps(edges), name
            assert texts[k].get_fontsize() >= 10
