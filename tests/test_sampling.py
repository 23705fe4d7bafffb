"""Writing: draws as they are promised, streams that give the batch's logits, states that go on."""

import io
import json

import numpy as np
import pytest
import torch

from unrolled.data import corpus_of
from unrolled.errors import ModelError, UsageError
from unrolled.optimise import Settings
from unrolled.tasks.language import Language
from unrolled.tasks.sampling import Taste
from unrolled.train import train

RHYME = "the rain in spain stays mainly in the plain\n" * 40
CHANCES = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


@pytest.fixture(scope="module")
def models():
    """Models of characters, words and subwords that know the rhyme."""
    found = {}
    for level, options in (("characters", {}), ("words", {}), ("subwords", {"vocabulary": 280})):
        data = corpus_of(RHYME, level=level, valid=0, test=0, **options)
        task = Language.for_dataset(data, hidden=32, embedding=16, window=24, backend="torch")
        epochs = 8 if level == "characters" else 30
        train(task, data, Settings(epochs=epochs, batch=4, lr=0.03), progress=False)
        found[level] = task
    return found


class TestTaste:
    @pytest.mark.parametrize(
        ("taste", "expected"),
        [
            ({}, [0.4, 0.3, 0.2, 0.1]),
            ({"temperature": 0}, [1, 0, 0, 0]),
            ({"temperature": 0.5}, [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
            ({"temperature": 1e-9}, [1, 0, 0, 0]),
            ({"top_k": 1}, [1, 0, 0, 0]),
            ({"top_k": 3}, [4 / 9, 3 / 9, 2 / 9, 0]),
            ({"top_k": 99}, [0.4, 0.3, 0.2, 0.1]),
            ({"top_p": 0.4}, [1, 0, 0, 0]),
            ({"top_p": 0.7}, [4 / 7, 3 / 7, 0, 0]),
            ({"top_p": 0.71}, [4 / 9, 3 / 9, 2 / 9, 0]),
            ({"top_p": 1e-9}, [1, 0, 0, 0]),
            ({"top_k": 3, "top_p": 0.5}, [4 / 7, 3 / 7, 0, 0]),
            ({"temperature": 0.5, "top_k": 2}, [16 / 25, 9 / 25, 0, 0]),
        ],
        ids=str,
    )
    def test_the_probabilities_are_exactly_these(self, taste, expected):
        for order in ([0, 1, 2, 3], [3, 0, 2, 1]):
            found = Taste(**taste).probabilities(CHANCES[order].log() + 5)
            np.testing.assert_allclose(found, np.array(expected)[order], atol=1e-6)

    def test_a_token_without_characters_is_never_drawn(self):
        found = Taste().probabilities(CHANCES.log(), banned=[0, 3])
        np.testing.assert_allclose(found, [0, 0.6, 0.4, 0], atol=1e-6)

    @pytest.mark.parametrize(
        ("taste", "message"),
        [
            ({"temperature": -1}, "temperature: expected at least 0, got -1"),
            ({"temperature": float("nan")}, "temperature: expected at least 0"),
            ({"temperature": float("inf")}, "temperature: expected at least 0"),
            ({"top_k": 0.5}, "top_k: expected a whole number"),
            ({"top_p": 0}, "top_p: expected 0 < it"),
            ({"top_p": 1.1}, "top_p: expected 0 < it"),
        ],
    )
    def test_what_cannot_be_is_named(self, taste, message):
        with pytest.raises(UsageError, match=message):
            Taste(**taste)


def test_draws_follow_the_probabilities(models):
    task = models["characters"]
    counts = np.zeros(len(task.tokenizer))
    first = task.writer(seed=0, temperature=3.0)
    first.read("the")
    expected = first.taste.probabilities(first._logits, task.unwritable)
    for _ in range(2000):
        counts[first._draw()] += 1
    # 3.5 deviations of a binomial of 2,000 draws in each of some twenty places, or one draw
    bound = 3.5 * np.sqrt(expected * (1 - expected) / 2000) + 1 / 2000
    assert (np.abs(counts / 2000 - expected) < bound).all()
    assert (counts[expected == 0] == 0).all()


def test_a_stream_has_the_logits_of_the_whole_text(models):
    for task in models.values():
        numbers = task.encode("the rain in spain")
        writer = task.writer()
        writer.read("the rain in spain")
        with torch.no_grad():
            output, _ = task.model.eval()(torch.tensor([numbers]))
            whole = task.model.log_probs(output)[0, -1]
        torch.testing.assert_close(writer._logits, whole, rtol=1e-4, atol=1e-5)


def test_the_compiled_stream_writes_what_pytorch_writes(models):
    task = models["characters"]
    expected = task.sample("the ", 40, temperature=0)
    task.model.recurrent.backend = "auto"
    assert task.sample("the ", 40, temperature=0) == expected
    task.model.recurrent.backend = "torch"


@pytest.mark.parametrize("level", ["characters", "words", "subwords"])
def test_pieces_are_the_text(models, level):
    task = models[level]
    assert "".join(task.writer(seed=3).write(30)) == task.sample("", 30, seed=3)
    text = "the" + task.sample("the", 90, temperature=0)
    assert "rain in spain stays mainly in the plain\nthe rain in" in text


def test_equal_seeds_write_equal_texts_whatever_else_is_drawn(models):
    task = models["characters"]
    one = task.sample("the", 50, seed=7, temperature=2.0)
    torch.manual_seed(123)
    assert task.sample("the", 50, seed=7, temperature=2.0) == one
    assert task.sample("the", 50, seed=8, temperature=2.0) != one


@pytest.mark.parametrize("level", ["characters", "words", "subwords"])
def test_a_state_that_was_kept_goes_on_exactly(models, level, tmp_path):
    task = models[level]
    whole = task.writer(seed=5, temperature=1.5)
    whole.read("the rain")
    expected = "".join(whole.write(60))
    writer = task.writer(seed=5, temperature=1.5)
    writer.read("the rain")
    begun = "".join(writer.write(23))
    writer.save(tmp_path / "state")
    other = task.writer(seed=99, temperature=1.5)
    other.load(tmp_path / "state")
    assert begun + "".join(other.write(37)) == expected


def test_a_text_ends_where_it_is_told(models):
    task = models["characters"]
    assert task.sample("the rain", 100, stop="spain", temperature=0) == " in spain"
    assert task.sample("the rain", 100, stop="\n", temperature=0).endswith("plain\n")
    assert task.sample("the rain", 5, stop="spain", temperature=0) == " in s"
    assert task.sample("the rain", 0) == ""


def test_letters_of_several_bytes_come_whole():
    data = corpus_of("나는 학교에 간다🙂\n" * 30, level="subwords", vocabulary=270, valid=0, test=0)
    task = Language.for_dataset(data, hidden=8, embedding=8, backend="torch")
    pieces = list(task.writer(seed=2).write(80))
    # the weights are as drawn, so most bytes fit no letter: they are said, and nothing is lost
    assert sum(map(len, pieces)) > 0
    letter = task.writer()
    found = []
    numbers = task.encode("학교🙂")
    for place, token in enumerate(numbers):
        found.append(letter._say(token, last=place == len(numbers) - 1))
    assert "".join(found) == "학교🙂"
    assert all("\ufffd" not in piece for piece in found)


def test_what_the_model_does_not_know_is_named(models, tmp_path):
    task = models["characters"]
    with pytest.raises(UsageError, match=r"the character 'é': expected one of the \d+ that"):
        task.sample("thé")
    assert models["words"].sample("unheard words", 3)
    with pytest.raises(UsageError, match="length: expected"):
        task.writer().write(-1)
    with pytest.raises(UsageError, match="seed: expected"):
        task.writer(seed=-1)
    writer = models["words"].writer()
    writer.read("the")
    writer.save(tmp_path / "state")
    with pytest.raises(ModelError):
        task.writer().load(tmp_path / "state")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


class TestCommand:
    @pytest.fixture
    def trained(self, folder, unrolled):
        target = folder / "model"
        if not target.exists():
            (folder / "rhyme.txt").write_text(RHYME)
            ran = unrolled(
                "train", folder / "rhyme.txt", "--task", "language", "--out", target,
                "--hidden", 24, "--layers", 1, "--epochs", 6, "--batch", 4, "--lr", 0.03,
                "--window", 24, "--backend", "torch", "--set", "patience=0",
            )  # fmt: skip
            assert ran.code == 0, ran.err
            assert "nats a character" in ran.out
        return target

    def test_it_is_measured_again(self, trained, unrolled, folder):
        ran = unrolled("eval", trained, "--json", "--backend", "torch")
        row = json.loads(ran.out)
        assert row["part"] == "test"
        assert 0 < row["nats_per_character"] < 3
        assert json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])["test"][
            "loss"
        ] == pytest.approx(row["loss"], rel=1e-6)
        strange = folder / "strange.txt"
        strange.write_text("the rain é in spain\n" * 3)
        ran = unrolled("eval", trained, strange, "--backend", "torch")
        assert "5.00 % unknown tokens (60 tokens)" in ran.out
        (folder / "empty.txt").write_text("")
        ran = unrolled("eval", trained, folder / "empty.txt")
        assert ran.code == 2
        assert "an empty file" in ran.err

    def test_it_writes(self, trained, unrolled, folder, monkeypatch):
        one = unrolled("predict", trained, "--prompt", "the ", "--length", 20, "--backend", "torch")
        assert one.out.startswith("the ")
        assert len(one.out) == 25
        told = ["--length", 20, "--json", "--backend", "torch"]
        row = json.loads(unrolled("predict", trained, "--prompt", "the ", *told).out)
        assert one.out == f"the {row['text']}\n"
        (folder / "prompt.txt").write_text("the ")
        row = json.loads(unrolled("predict", trained, folder / "prompt.txt", *told).out)
        assert one.out == f"the {row['text']}\n"
        ran = unrolled("predict", trained, "--prompt", "x" * 3)
        assert ran.code == 2
        assert "the character 'x'" in ran.err

    def test_a_state_goes_on_over_commands(self, trained, unrolled, folder):
        told = ["--temperature", 1.3, "--json", "--backend", "torch"]
        whole = unrolled("predict", trained, "--prompt", "the ", "--length", 40, *told)
        state = ["--state", folder / "state", "--length", 20]
        first = unrolled("predict", trained, "--prompt", "the ", *state, *told)
        second = unrolled("predict", trained, *state, *told)
        parts = [json.loads(ran.out)["text"] for ran in (first, second)]
        assert json.loads(whole.out)["text"] == "".join(parts)

    def test_it_converses(self, trained, unrolled, monkeypatch):
        monkeypatch.setattr("sys.stdin", io.StringIO("the rain\nxyz\nin spain\n"))
        ran = unrolled("predict", trained, "--interactive", "--length", 10, "--backend", "torch")
        assert ran.code == 0
        assert "the character 'x'" in ran.err
        assert len(ran.out) == 22

    def test_a_text_of_images_or_a_wrong_task_is_named(self, unrolled):
        ran = unrolled("train", "digits", "--task", "language")
        assert ran.code == 2
        assert "digits as a text" in ran.err
        ran = unrolled("train", "pydocs", "--task", "classify")
        assert ran.code == 2
        assert "--task language" in ran.err
        ran = unrolled("train", "pydocs", "--preset", "pydocs", "--task", "classify")
        assert "the preset pydocs: expected the task language" in ran.err

    def test_python_s_manual_is_trained_on_end_to_end(self, unrolled, tmp_path):
        ran = unrolled(
            "train", "pydocs", "--out", tmp_path / "m", "--epochs", 1, "--hidden", 16,
            "--window", 500, "--backend", "torch", "--set", "valid=4000", "--set", "test=4000",
            "--batch", 256, "--json",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert 1.5 < json.loads(ran.out)["test"]["nats_per_character"] < 5
        assert "model.sample" in (tmp_path / "m" / "README.md").read_text()
