"""Presets and the recipe of a run: plain data, later wins, what cannot be is named."""

import tomllib

import pytest

from unrolled.errors import DataError, UsageError
from unrolled.tasks import presets
from unrolled.tasks.recipe import SECTIONS, Recipe, build, parsed, reload, resolve


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_whole_and_says_what_it_is(name):
    table = presets.read(name)
    assert table["about"].endswith(".")
    assert set(table) <= {"about", "for", "task", *SECTIONS}
    recipe = resolve("anything", preset=name)
    for section in SECTIONS:
        for key, value in table.get(section, {}).items():
            assert getattr(recipe, section)[key] == value


def test_the_notebook_is_the_notebooks():
    recipe = resolve("mnist", preset="notebook")
    model = {"cell": "lstm", "hidden": 128, "layers": 2, "bidirectional": False, "pooling": "last"}
    assert model.items() <= recipe.model.items()
    assert recipe.model["dropout"] == 0
    assert not recipe.model["learn_initial"]
    training = {"epochs": 2, "batch": 100, "optimizer": "adam", "lr": 0.01, "clip": 0.0}
    training |= {"schedule": "constant", "warmup": 0.0, "log_every": 100, "augment": "none"}
    assert training.items() <= recipe.training.items()
    assert (recipe.data["valid"], recipe.data["read"]) == (0, "rows")


def test_the_tuned_one_has_the_same_network_data_and_epochs():
    one, tuned = (resolve("mnist", preset=name) for name in ("notebook", "notebook-tuned"))
    assert one.model == tuned.model
    assert one.data == tuned.data
    for key in ("epochs", "batch", "augment"):
        assert one.training[key] == tuned.training[key]


def test_a_dataset_has_its_default():
    assert presets.default_for("mnist") == "mnist"
    assert presets.default_for("fashion-mnist") == "mnist"
    assert presets.default_for("digits") == "digits"
    assert presets.default_for("my/own.csv") == "series"


def test_mnists_default_keeps_its_promise_of_ten_epochs():
    assert resolve("mnist").training["epochs"] <= 10


def test_later_wins_from_preset_to_file_to_flags(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[model]\nhidden = 32\n[training]\nlr = 0.5\nepochs = 3\n")
    recipe = resolve(
        "digits", preset="notebook", config=file, assignments=["lr=0.25"], flags={"hidden": None}
    )
    assert recipe.model["hidden"] == 32
    assert recipe.training["lr"] == 0.25
    assert recipe.training["epochs"] == 3
    assert recipe.training["batch"] == 100
    assert resolve("digits", config=file, flags={"hidden": 16}).model["hidden"] == 16


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_can_be_given_as_a_file_again(name, tmp_path):
    table = presets.read(name)
    lines = []
    for section in SECTIONS:
        lines.append(f"[{section}]")
        for key, value in table.get(section, {}).items():
            word = repr(value).lower() if isinstance(value, bool) else repr(value)
            lines.append(f"{key} = {word}")
    file = tmp_path / "same.toml"
    file.write_text("\n".join(lines))
    tomllib.loads(file.read_text())
    one, other = resolve("x", preset=name), resolve("x", preset=name, config=file)
    assert one == other


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("true", True),
        ("lstm", "lstm"),
        ("'1'", "1"),
        ("[1, 2.5]", [1, 2.5]),
        ("{h = 0.1}", {"h": 0.1}),
        ("my.py:Mine", "my.py:Mine"),
        ("a = 1\nb = 2", "a = 1\nb = 2"),
        ("", ""),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_values_are_tomls_or_bare_words(text, value):
    assert parsed(text) == value


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"preset": "notbook"}, "preset: expected one of conll2000, copy, "),
        ({"assignments": ["hiden=3"]}, "Did you mean 'hidden'?"),
        ({"assignments": ["hidden"]}, "expected key=value, got 'hidden'"),
        ({"assignments": ["=3"]}, "expected key=value"),
        ({"assignments": ["hidden=many"]}, "hidden: expected a whole number, got 'many'"),
        ({"assignments": ["hidden=1.5"]}, "hidden: expected a whole number, got 1.5"),
        ({"assignments": ["bidirectional=1"]}, "bidirectional: expected true or false, got 1"),
        ({"assignments": ["lr=1", "lr=2"]}, "expected each option once, got lr twice"),
        ({"assignments": ["lr=1"], "flags": {"lr": 2.0}}, "expected each option once"),
        ({"assignments": ["epochs=0"]}, "epochs: expected at least 1, got 0"),
    ],
)
def test_an_option_that_cannot_be_is_refused(how, message):
    with pytest.raises(UsageError) as error:
        resolve("digits", **how)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("[model]\nhidden = \n", DataError, "expected a file in TOML"),
        ("[network]\nhidden = 1\n", UsageError, "[network]: expected [model], [data], [training]"),
        ("model = 3\n", UsageError, "model: expected a section"),
        ("[training]\nhidden = 3\n", UsageError, "no option is called 'hidden'"),
        ("[model]\nhidden = '3'\n", UsageError, "hidden: expected a whole number, got '3'"),
    ],
)
def test_a_file_that_cannot_be_is_named(tmp_path, text, kind, message):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(kind) as error:
        resolve("digits", config=file)
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        resolve("digits", config=tmp_path / "none.toml")


def test_a_recipe_survives_json():
    recipe = resolve("digits", assignments=["class_weights=[1,2,3,4,5,6,7,8,9,10]"])
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(UsageError, match=r"the recipe in config\.json"):
        Recipe.from_json({"model": {}})


def test_the_same_parts_come_back_for_a_trained_task():
    recipe = resolve("digits", flags={"seed": 3})
    task, digits = build("digits", recipe)
    again = reload("digits", recipe, task)
    for part in ("train", "valid", "test"):
        assert (getattr(again, part).inputs == getattr(digits, part).inputs).all()
        assert (getattr(again, part).targets == getattr(digits, part).targets).all()
