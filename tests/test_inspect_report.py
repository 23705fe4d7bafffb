"""The command inspect, its report and its pictures: on a network trained for a moment."""

import csv
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from unrolled import Recurrent, UnrolledError, messages
from unrolled.data import load
from unrolled.inspect import flow, pictures, trace
from unrolled.inspect.pictures import Style, png, style
from unrolled.inspect.report import save_report
from unrolled.optimise import Settings
from unrolled.tasks.classify import Classify
from unrolled.tasks.looking import look
from unrolled.train import train


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory and a file of inputs."""
    folder = tmp_path_factory.mktemp("inspect")
    digits = load("digits")
    task = Classify.for_dataset(
        digits, cell="gru", hidden=6, layers=2, bidirectional=True, backend="reference", seed=1
    )
    train(task, digits, Settings(epochs=1, batch=400), folder / "digits", progress=False)
    np.save(folder / "some.npy", digits.test.inputs[:5])
    return folder / "digits", folder / "some.npy"


def test_the_command_says_what_it_sees(model, unrolled):
    ran = unrolled("inspect", *model)
    assert ran.code == 0, ran.err
    for words in ("l1_reverse: gradients", "z (update gate): ", "longest memory, in steps: h["):
        assert words in ran.out
    facts = json.loads(unrolled("inspect", *model, "--json").out)
    assert [row["layer"] for row in facts["layers"]] == ["l0", "l0_reverse", "l1", "l1_reverse"]
    assert len(facts["answers"]) == 5
    assert len(facts["layers"][0]["memory"]) == 6


def test_one_step_of_one_unit(model, unrolled):
    ran = unrolled("inspect", *model, "--layer", "l0", "--step", "3", "--unit", "2")
    assert ran.out.splitlines()[:2] == [
        "l0, step 3, unit 2",
        "r = sigmoid(x.r + u.r(h))             reset gate",
    ]
    assert "h' = (1 - z) * n + z * h" in ran.out
    assert unrolled("inspect", *model, "--step", "9").code == 2


def test_the_walk_and_what_truncation_loses(model, unrolled):
    ran = unrolled("inspect", *model, "--walk", "--layer", "l0")
    assert ran.out.startswith("forward\n  step 1\n    x ")
    rows = unrolled("inspect", *model, "--truncate").out.splitlines()
    assert rows[-1].split() == ["8", "0.00", "1.0000"]


@pytest.mark.slow
def test_files_that_are_asked_for_are_written(model, unrolled, tmp_path):
    names = {"arrays": "a.npz", "table": "t.csv", "topology": "t.png", "report": "r.html"}
    flags = [word for k, v in names.items() for word in (f"--{k}", tmp_path / v)]
    ran = unrolled("inspect", *model, "--count", "3", *flags)
    assert ran.out.splitlines()[-1] == str(tmp_path / "r.html")
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["l1_reverse.z"].shape == (3, 8, 6)
        assert arrays["tokens"][0, 2] == "row 3"
    with open(tmp_path / "t.csv", encoding="utf-8-sig") as file:
        assert {row["layer"] for row in csv.DictReader(file)} >= {"l0", "l1_reverse"}
    Image.open(tmp_path / "t.png").verify()
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(page) < 5_000_000
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)  # nothing from outside
    assert page.count('class="light"') == page.count('class="dark"') > 8


NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
in_a_browser = pytest.mark.skipif(not CHROMIUM, reason=f"no browser: none of {', '.join(NAMES)}")


def opened(page, folder):
    """What a browser complains of when it opens a page, and a screenshot of it."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
               "--log-level=0", f"--user-data-dir={folder / 'profile'}",
               "--window-size=1100,900", f"--screenshot={folder / 'shot.png'}",
               page.as_uri()]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    shot = np.asarray(Image.open(folder / "shot.png").convert("L"))
    return [line for line in ran.stderr.splitlines() if "CONSOLE" in line], shot


@in_a_browser
def test_the_report_opens_in_a_browser_without_a_complaint(tmp_path):
    layer = Recurrent("rnn", 2, 3, backend="reference")
    page = save_report(trace(layer, torch.randn(1, 3, 2)), tmp_path / "report.html")
    complaints, shot = opened(page, tmp_path)
    assert not complaints
    assert shot.std() > 10  # something is drawn


@in_a_browser
def test_a_complaint_of_the_browser_is_seen(tmp_path):
    body = "<script>console.error('spoken')</script><script>nothing.there()</script>"
    (tmp_path / "page.html").write_text(f"<!doctype html>{body}", encoding="utf-8")
    said = "\n".join(opened(tmp_path / "page.html", tmp_path)[0])
    assert "spoken" in said
    assert "nothing is not defined" in said


def test_looking_at_the_loss_against_a_label(model, unrolled):
    assert unrolled("inspect", *model, "--target", "7").code == 0
    ran = unrolled("inspect", *model, "--target", "seven")
    assert (ran.code, "expected one of 0, 1, 2" in ran.err) == (2, True)


def test_a_network_of_values_is_looked_at(tmp_path):
    from unrolled.data import from_arrays

    data = from_arrays(
        np.random.RandomState(0).randn(12, 7, 2), np.arange(12.0), kind="regression", valid=0
    )
    task = Classify.for_dataset(data, cell="rnn", hidden=4, backend="reference")
    seen = look(task, data.train.inputs[:3])
    assert len(seen.answers) == 3
    with pytest.raises(UnrolledError, match="none, for a network of values"):
        look(task, data.train.inputs[:3], target="1")
    with pytest.raises(UnrolledError, match="1 to 64 examples"):
        look(task, data.train.inputs[:0])


def drawings(seen):
    layers = seen.layers
    return {
        "topology": lambda s: pictures.topology(seen, s),
        "flows": lambda s: pictures.flows([flow(layer) for layer in layers], s),
        "values": lambda s: pictures.values(layers[0], s, tokens=seen.tokens[0]),
        "gates": lambda s: pictures.gates(layers[0], s),
        "memory": lambda s: pictures.memory(layers, s),
        "looked at": lambda s: pictures.looked_at(seen, s),
    }


def boxes(figure):
    """Where the words of a picture lie, in pixels."""
    renderer = figure.canvas.get_renderer()
    figure.draw_without_rendering()
    for axes in figure.axes:
        if axes.axison:
            texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
        else:
            texts = [axes.title, *axes.texts]
        yield from (t.get_window_extent(renderer) for t in texts if t.get_text())


@pytest.mark.parametrize("steps", [1, 8, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_pictures_keep_their_words_apart_and_inside(cell, steps):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    layer = Recurrent(cell, 3, 6, 2, backend="reference", bidirectional=True)
    seen = trace(layer, torch.randn(2, steps, 3))
    for name, draw in drawings(seen).items():
        figure = draw(Style())
        FigureCanvasAgg(figure)
        found = list(boxes(figure))
        for k, box in enumerate(found):
            inside = figure.bbox.padded(2)
            assert inside.contains(*box.p0), name
            assert inside.contains(*box.p1), name
            for other in found[:k]:
                assert not box.padded(-2).overlaps(other), name


def test_dark_is_dark_and_light_is_light():
    seen = trace(Recurrent("gru", 3, 4, backend="reference"), torch.randn(1, 6, 3))
    means = []
    for dark in (False, True):
        data = png(drawings(seen)["memory"], Style(dark))
        means.append(np.asarray(Image.open(io.BytesIO(data)).convert("L")).mean())
    assert means[0] > 200 > 60 > means[1]


def test_without_a_korean_font_pictures_speak_english_and_say_so(monkeypatch):
    said = []
    monkeypatch.setattr(style, "korean_family", lambda: "")
    messages.use("ko")
    assert "fonts-nanum" in style.missing_font()

    def draw(look):
        said.append(messages.tr("step"))
        return style.figure(1, 1)

    png(draw)
    assert said == ["step"]
    assert messages.language() == "ko"
    monkeypatch.setattr(style, "korean_family", lambda: "DejaVu Sans")
    png(draw)
    assert said == ["step", "단계"]
