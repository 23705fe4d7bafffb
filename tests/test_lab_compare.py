"""The laboratory's comparison: an equal budget, the test part untouched by it, intervals, files."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from scipy import stats

from unrolled.errors import TrainingError, UsageError
from unrolled.inspect.pictures import Style
from unrolled.lab import compare, comparing
from unrolled.lab.comparing import Comparison, Contender
from unrolled.lab.comparing_picture import picture
from unrolled.lab.intervals import differences, half_width
from unrolled.lab.paper import bibtex, escaped, latex
from unrolled.lab.peak import peak
from unrolled.tasks.recipe import resolve

OPTIONS = {"hidden": 4, "epochs": 1, "batch": 400, "bidirectional": False, "backend": "reference"}


def tiny(**more):
    return resolve("digits", flags={**OPTIONS, **more})


def test_an_interval_is_students():
    values = [0.91, 0.95, 0.90, 0.97]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert half_width(values) == pytest.approx((high - low) / 2)
    assert half_width([1.0]) is None


def test_differences_are_taken_seed_by_seed():
    assert differences({1: 1.0, 2: 4.0, 3: 0.0}, {2: 5.0, 1: 3.0}) == [2.0, 1.0]


def test_only_the_runs_that_count_read_the_test_part(monkeypatch, tmp_path):
    seen = []
    real = comparing.train

    def watched(task, data, settings, place, **rest):
        result = real(task, data, settings, place, **rest)
        seen.append((settings.lr, settings.seed, result.test is not None, len(data.test)))
        return result

    monkeypatch.setattr(comparing, "train", watched)
    found = compare(
        "digits", ["rnn"], tiny(seed=5), tmp_path, rates=[0.01, 0.1], seeds=1, memory=False
    )
    best = found.contenders[0].lr
    assert seen == [
        (0.01, 5, False, 0),
        (0.1, 5, False, 0),
        (best, 6, True, 359),
    ]
    scores = {row["key"]["lr"]: row["valid"]["accuracy"] for row in found.contenders[0].tries}
    assert scores[best] == max(scores.values())
    assert not (tmp_path / "running").exists()
    again = compare(
        "digits", ["rnn"], tiny(seed=5), tmp_path, rates=[0.01, 0.1], seeds=1, memory=False
    )
    assert len(seen) == 3  # all of it was there
    assert again.table() == found.table()


def test_an_interrupted_run_goes_on_where_it_was(monkeypatch, tmp_path):
    options = {"rates": [0.05], "seeds": 1, "memory": False}
    whole = compare("digits", ["rnn"], tiny(epochs=3), **options)
    real = comparing.train

    def killed(task, data, settings, place, **rest):
        first = replace(settings, epochs=settings.epochs)
        flush, count = task.evaluate, []

        def stop(parts):
            count.append(1)
            if len(count) == 2:
                raise KeyboardInterrupt
            return flush(parts)

        task.evaluate = stop
        return real(task, data, first, place, **rest)

    monkeypatch.setattr(comparing, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        compare("digits", ["rnn"], tiny(epochs=3), tmp_path, **options)
    assert len(list((tmp_path / "running").iterdir())) == 1
    monkeypatch.setattr(comparing, "train", real)
    rest = compare("digits", ["rnn"], tiny(epochs=3), tmp_path, **options)
    assert [row["measured"] for row in rest.rows] == [row["measured"] for row in whole.rows]


def test_networks_are_as_large_as_the_first_or_have_as_many_units():
    found = compare("digits", ["lstm", "rnn"], tiny(), rates=[0.01], seeds=1, memory=False)
    first, other = found.contenders
    assert first.hidden == 4
    assert other.hidden > 6
    assert abs(other.parameters - first.parameters) < 25
    same = compare(
        "digits", ["lstm", "rnn"], tiny(), rates=[0.01], seeds=1, memory=False, equal="units"
    )
    assert [c.hidden for c in same.contenders] == [4, 4]


def test_a_rate_that_diverges_is_not_chosen_and_a_cell_that_always_does_is_left():
    options = tiny(clip=0, optimizer="sgd", schedule="constant", warmup=0, batch=50)
    said = []
    found = compare(
        "digits", ["rnn", "rnn-relu"], options, rates=[0.1, 900.0], seeds=1, memory=False,
        say=said.append,
    )  # fmt: skip
    relu = found.contenders[1]
    assert [row["stop"] for row in relu.tries] == ["done", "diverged"]
    assert relu.lr == 0.1
    lost = [replace(c, tries=c.tries[1:], lr=None, runs=[]) for c in found.contenders[1:]]
    table = replace(found, contenders=[found.contenders[0], *lost]).table()
    assert table[1]["accuracy"] is None
    with pytest.raises(TrainingError, match="every run diverged"):
        compare("digits", ["rnn-relu"], options, rates=[900.0], seeds=1, memory=False)


def contender(title, values, *, lr=0.01, size=2**21):
    rows = [
        {"key": {"seed": n, "phase": "seed", "lr": lr}, "stop": "done", "seconds": 2.0 + n / 8,
         "measured": {"accuracy": v, "loss": 1 - v}, "score": [v], "valid": None}
        for n, v in enumerate(values)
    ]  # fmt: skip
    tries = [
        {"key": {"lr": r, "phase": "tune"}, "stop": "done", "score": [0.5 + r]} for r in (0.01, 0.1)
    ]
    return Contender(title, 12, 3456, size, tries, lr, rows, "gru" if title == "gru" else "rnn")


@pytest.fixture
def found():
    contenders = [contender("my_cell", [0.9, 0.92, 0.94]), contender("gru", [0.95, 0.96, 0.97])]
    return Comparison("a_b/digits", "classify", "test", "accuracy", True, contenders, [])


def test_the_table_of_the_paper(found):
    text = latex(found)
    assert r"my\_cell~\cite{elman1990finding} & 12 & 3\,456 & 0.01 & $92.00 \pm 4.97$" in text
    assert r"gru~\cite{cho2014learning} & 12 & 3\,456 & 0.01 & $\mathbf{96.00} \pm 2.48$" in text
    assert text.count(r"\\") == 3
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {6}
    assert r"\begin{tabular}{lrrrrrr}" in text
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count(rf"\{rule}") == 1
    cited = set(re.findall(r"\\cite\{([^}]+)\}", text))
    assert cited == set(re.findall(r"@\w+\{([^,]+),", bibtex(found)))
    assert escaped("a_b%") == r"a\_b\%"


def test_the_difference_is_of_pairs(found):
    row = found.table()[1]
    assert row["difference"] == pytest.approx(0.04)
    gaps = [0.05, 0.04, 0.03]
    assert row["difference_half_width"] == pytest.approx(half_width(gaps))
    assert found.best() == "gru"


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_keeps_its_words_apart(found, dark):
    figure = picture(found, Style(dark))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent(renderer)
        for axes in figure.axes
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
        if text.get_text()
    ]
    for n, one in enumerate(boxes):
        assert figure.bbox.contains(one.x0, one.y0)
        assert figure.bbox.contains(one.x1, one.y1)
        assert not any(one.overlaps(other) for other in boxes[:n])


def test_the_command_writes_table_picture_and_references(unrolled, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from unrolled.cells import Cell, tanh\n"
        "class Mine(Cell):\n"
        "    gates, states = 'a', 'h'\n"
        "    def step(self, x, u, h):\n"
        "        return dict(h=0.5 * h + 0.5 * tanh(x.a + u.a(h)))\n"
    )
    flags = ["--cells", f"{tmp_path / 'mine.py'}:Mine", "--rates", "0.01", "--seeds", "2",
             "--no-memory", "--hidden", "4", "--epochs", "1", "--set", "batch=400",
             "--set", "backend=reference", "--out", tmp_path / "lab"]  # fmt: skip
    ran = unrolled("lab", "compare", "digits", *flags)
    assert ran.code == 0, ran.err
    assert "Means over 2 seeds on the test part; ± is Student's interval of 95 %." in ran.out
    assert r"Mine & 4" in (tmp_path / "lab" / "compare.tex").read_text()
    assert (tmp_path / "lab" / "compare.bib").read_text() == "\n"  # no paper yet
    Image.open(tmp_path / "lab" / "compare.png").verify()
    with open(tmp_path / "lab" / "runs.csv", encoding="utf-8-sig") as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["tune", "seed", "seed"]
    facts = json.loads(unrolled("lab", "compare", "digits", *flags, "--json").out)
    assert [row["cell"] for row in facts["table"]] == ["Mine"]


@pytest.mark.slow
def test_the_memory_that_training_needs_grows_with_the_network():
    def need(hidden):
        recipe = resolve("digits", assignments=[f"hidden={hidden}"])
        cell = comparing.budget.traced("lstm").to_json()
        return peak("digits", comparing._with(recipe, cell).to_json(), None)

    small, large = need(64), need(512)
    # weights of both directions, their gradient and Adam's two moments, in float32
    least = 2 * 4 * 512 * (8 + 512) * 4 * 3
    assert least < large < 20 * least
    assert small < large / 4
    assert peak("nothing", {}, None) is None


@pytest.mark.slow
def test_texts_and_languages_are_compared_too(tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("to be or not to be, that is the question. " * 60)
    options = ["hidden=6", "layers=1", "epochs=1", "batch=2", "window=16", "embedding=4"]
    found = compare(
        str(text), ["gru", "rnn"], resolve(str(text), task="language", assignments=options),
        rates=[0.01], seeds=2, memory=False,
    )  # fmt: skip
    assert (found.metric, found.larger, found.part) == ("loss", False, "test")
    assert found.best() in ("gru", "rnn")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["digits", "--cells", "rnn,rnn"], "each once, under a name of its own"),
        (["digits", "--cells", ","], "cells: expected a list of at least one"),
        (["digits", "--cells", "lstn"], "Did you mean 'lstm'?"),
        (["digits", "--seeds", "0"], "seeds: expected at least 1"),
        (["digits", "--rates", "0"], "rates: expected numbers above 0"),
        (["digits", "--rates", "fast"], "--rates: expected numbers"),
        (["digits", "--equal", "time"], "equal: expected parameters or units"),
        (["digitz"], "Did you mean 'digits'?"),
        (["digits", "--set", "hiden=3"], "Did you mean 'hidden'?"),
        (["digits", "--set", "valid=0"], "a validation part to choose the learning rate by"),
    ],
)
def test_bad_input_is_one_line(unrolled, tmp_path, flags, words):
    ran = unrolled("lab", "compare", *flags, "--out", tmp_path / "lab")
    assert ran.code == 2
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_equal_is_said():
    with pytest.raises(UsageError, match="parameters or units"):
        compare("digits", ["rnn"], tiny(), equal="both")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--set", "cell=gru"], "--set cell=gru: expected --cells, which names them all"),
        (["--set", "lr = 0.1", "--rates", "0.01"], "--set lr = 0.1: expected --rates, or its"),
    ],
)
def test_what_would_be_overruled_is_refused(unrolled, tmp_path, flags, words):
    ran = unrolled("lab", "compare", "digits", *flags, "--out", tmp_path / "lab")
    assert ran.code == 2
    assert words in ran.err
    assert not (tmp_path / "lab").exists()


def test_a_cell_in_a_file_is_refused_too(unrolled, tmp_path):
    (tmp_path / "own.toml").write_text('[model]\ncell = "gru"\n', encoding="utf-8")
    flags = ["--config", tmp_path / "own.toml", "--cells", "rnn,lstm"]
    ran = unrolled("lab", "compare", "digits", *flags, "--out", tmp_path / "lab")
    assert ran.code == 2
    assert "own.toml: [model] cell: expected --cells, which names them all" in ran.err
    assert not (tmp_path / "lab").exists()


def test_one_seed_has_no_interval(unrolled, tmp_path):
    sets = [word for k, v in OPTIONS.items() for word in ("--set", f"{k}={str(v).lower()}")]
    flags = ["--cells", "rnn", "--rates", "0.01", "--seeds", "1", "--no-memory", *sets]
    ran = unrolled("lab", "compare", "digits", *flags, "--out", tmp_path)
    assert ran.code == 0, ran.err
    assert "±" not in ran.out
    assert "One seed on the test part" in ran.out
