"""Every task can be looked at: what is seen belongs to the sequences, in the order they came in."""

import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image

from unrolled import Recurrent, UnrolledError, checkpoint
from unrolled.data import from_arrays, load
from unrolled.data.corpus import corpus_of
from unrolled.data.sentences import Tagged
from unrolled.data.tagged import TaggedDataset
from unrolled.data.wording import learn_texts
from unrolled.inspect.attribution import Scored, attribute
from unrolled.inspect.shade import for_page, for_terminal
from unrolled.optimise import Settings
from unrolled.tasks.classify import Classify
from unrolled.tasks.language import Language
from unrolled.tasks.looking import look, looked_at
from unrolled.tasks.tag import Tag
from unrolled.text.embedding import Embedding
from unrolled.train import train

TEXT = "the rain in spain\nstays mainly in the plain. " * 30
WORDS = [["the", "dog", "runs", "."], ["a", "cat"], ["she", "sings", "well"]]
TAGS = [["DET", "NOUN", "VERB", "."], ["DET", "NOUN"], ["PRON", "VERB", "ADV"]]


def language(level="characters", **options):
    corpus = corpus_of(TEXT, level=level)
    return Language.for_dataset(corpus, cell="gru", hidden=8, backend="reference", **options)


def tagger(crf, **options):
    part = Tagged(WORDS, TAGS)
    data = TaggedDataset("words", part, part, {}, lambda: part)
    return Tag.for_dataset(
        data, cell="lstm", hidden=5, crf=crf, character_width=3, character_hidden=4,
        backend="reference", **options,
    )  # fmt: skip


def test_each_next_token_has_its_probability():
    task = language()
    texts = ["the plain", "in", "s"]
    seen = look(task, texts)
    assert seen.tokens == [list(text) for text in texts]
    assert seen["l0"]["h"].shape == (3, 9, 8)
    ids = torch.tensor([task.encode(texts[0])])
    with torch.no_grad():
        output, _ = task.model(ids)
        sure = task.model.log_probs(output)[0].exp()
    for t in range(1, 9):
        assert seen.told["probability"][0][t] == pytest.approx(float(sure[t - 1, ids[0, t]]))
        assert seen.told["likeliest"][0][t] == task.decode([int(sure[t - 1].argmax())])
    assert np.isnan(seen.told["probability"][0][0])
    assert seen.answers[0] == repr(task.decode([int(sure[-1].argmax())]))
    arrays = seen.arrays()
    assert arrays["probability"].shape == arrays["likeliest"].shape == (3, 9)
    assert arrays["d_read"].shape == arrays["read"].shape == (3, 9, 64)


def test_gradients_of_a_language_model_are_of_the_texts_log_probability():
    task = language("words")
    seen = look(task, ["the rain in spain", "in the"])
    nats = -sum(np.log(row[1:]).sum() for row in seen.told["probability"])
    likeliest = 0.0
    for text in ("the rain in spain", "in the"):
        with torch.no_grad():
            output, _ = task.model(torch.tensor([task.encode(text)]))
            likeliest += float(task.model.log_probs(output)[0, -1].max())
    assert seen.loss == pytest.approx(likeliest - nats, rel=1e-5)
    one = look(task, ["the rain in spain"], at=3)
    assert one.loss == pytest.approx(np.log(one.told["probability"][0][2]), rel=1e-5)
    assert not one["l0"].gradient("h")[0, 2:].any()  # nothing after the token before it counts
    with pytest.raises(UnrolledError, match="a token from 2 to 4"):
        look(task, ["the rain in spain"], at=1)


@pytest.mark.parametrize("crf", [True, False])
def test_each_word_has_its_tag_and_how_sure_it_is(crf):
    task = tagger(crf)
    seen = look(task, WORDS)
    guess = task.predict(WORDS)
    assert seen.tokens == WORDS
    assert seen.lengths.tolist() == [4, 2, 3]
    for b in range(3):
        assert seen.told["answer"][b] == guess.names[b]
        assert seen.told["probability"][b] == pytest.approx(guess.values[b].tolist(), rel=1e-5)
    assert [layer.title for layer in seen.layers] == ["l0", "l0_reverse"]
    alone = look(task, WORDS[2:])
    assert np.allclose(seen["l0_reverse"]["h"][2, :3], alone["l0_reverse"]["h"][0], atol=1e-6)
    one = look(task, WORDS[:1], at=2, target="VERB")
    assert one.loss > 0
    with pytest.raises(UnrolledError, match="a word from 1 to 2"):
        look(task, WORDS, at=3)
    with pytest.raises(UnrolledError, match="--at"):
        look(task, WORDS, target="VERB")


def test_texts_stay_in_the_order_in_which_they_came():
    texts = ["a b c d", "b", "c d"]
    prepare = learn_texts(texts, level="words")
    encoder = Embedding(prepare.features, 6)
    layers = Recurrent("lstm", 6, 4, backend="reference", bidirectional=True)
    task = Classify(layers, prepare, ["x", "y", "z"], encoder=encoder)
    seen = look(task, texts)
    assert seen.tokens == [text.split() for text in texts]
    assert seen.lengths.tolist() == [4, 1, 2]
    assert seen.answers == task.predict(texts).names
    one = look(task, texts[2:])
    assert np.allclose(seen["l0"]["c"][2, :2], one["l0"]["c"][0], atol=1e-6)
    assert np.allclose(seen.read_gradient[2, :2], one.read_gradient[0], atol=1e-6)


def test_all_labels_of_several_are_looked_at():
    rng = np.random.RandomState(0)
    targets = rng.randint(0, 2, (12, 3))
    data = from_arrays(rng.randn(12, 5, 2), targets, kind="multi", valid=0)
    task = Classify.for_dataset(data, cell="gru", hidden=4, backend="reference")
    x = data.train.inputs[:4]
    seen = look(task, x)
    with torch.no_grad():
        logits = task.model(torch.from_numpy(seen.x))
    assert seen.loss == pytest.approx(float(logits.abs().sum()), rel=1e-5)
    names = task.predict(x).names
    assert seen.answers == [", ".join(row) or "–" for row in names]
    target = look(task, x, target=task.labels[2])
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 2], torch.ones(4), reduction="sum"
    )
    assert target.loss == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "rnn", "gru", "mingru", "lem"])
def test_integrated_gradients_add_up_to_what_the_input_changed(cell):
    digits = load("digits")
    task = Classify.for_dataset(digits, cell=cell, hidden=8, backend="reference", seed=0)
    found = looked_at(task, digits.test.inputs[:3], "integrated")
    assert np.abs(found.gap).max() < 1e-3 * max(1, np.abs(found.score - found.empty).max())
    assert found.features.shape == (3, 8, 8)
    first = looked_at(task, digits.test.inputs[:3], "gradient")
    assert np.abs(first.gap).max() > 10 * np.abs(found.gap).max()  # the check can fail


def test_integrated_gradients_of_texts_and_tags_add_up_too():
    for task, inputs in ((language("words"), ["the rain in spain", "in the"]),
                         (tagger(crf=True), WORDS)):  # fmt: skip
        for at in (2, None):
            found = looked_at(task, inputs, "integrated", at=at)
            assert np.abs(found.gap).max() < 1e-3
            assert not found.parts[1, 2:].any()


def test_the_gradient_method_is_the_traces_own():
    task = language()
    seen, found = look(task, ["the plain", "in"]), looked_at(task, ["the plain", "in"])
    assert np.allclose(found.parts, (seen.read * seen.read_gradient).sum(-1), atol=1e-6)
    assert found.score.sum() == pytest.approx(seen.loss, rel=1e-5)


def test_occlusion_is_what_is_lost_without_a_step():
    digits = load("digits")
    task = Classify.for_dataset(digits, cell="gru", hidden=8, backend="reference", seed=0)
    x = digits.test.inputs[:2]
    found = looked_at(task, x, "occlusion", target="3")
    for t in (0, 5):
        without = np.array(x)
        without[:, t] = 0
        for b in range(2):
            lost = look(task, x[b : b + 1], target="3").loss
            lost -= look(task, without[b : b + 1], target="3").loss
            assert found.parts[b, t] == pytest.approx(lost, abs=1e-5)


@pytest.mark.parametrize("steps", [1, 100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_one_step_and_ten_thousand_are_looked_at(steps):
    data = from_arrays(
        np.random.RandomState(0).randn(4, steps, 1).astype(np.float32), np.arange(4) % 2, valid=0
    )
    backend = "reference" if steps <= 100 else "c"
    task = Classify.for_dataset(data, cell="lstm", hidden=4, backend=backend)
    seen = look(task, data.train.inputs[:1])
    assert seen["l0"].gradient("c").shape == (1, steps, 4)
    assert looked_at(task, data.train.inputs[:1], "occlusion").parts.shape == (1, steps)


def test_what_cannot_be_looked_at_is_said():
    task = language()
    with pytest.raises(UnrolledError, match="a list of texts"):
        look(task, "the rain")
    with pytest.raises(UnrolledError, match="none, for a language model"):
        look(task, ["the rain"], target="x")
    with pytest.raises(UnrolledError, match="a list of lists of words"):
        look(tagger(crf=False), ["the dog"])
    with pytest.raises(UnrolledError, match="one of gradient, integrated, occlusion"):
        looked_at(task, ["the rain"], "magic")


def test_the_command_looks_at_a_text_that_is_typed(unrolled, tmp_path):
    checkpoint.save(tmp_path / "lm", language())
    ran = unrolled("inspect", tmp_path / "lm", "--backend", "reference", "the rain\\nin spain")
    assert ran.code == 0, ran.err
    for words in ("the rain↵\n", "the most surprising:", "expected was", "l0: gradients"):
        assert words in ran.out
    ran = unrolled(
        "inspect",
        tmp_path / "lm",
        "--backend",
        "reference",
        "the rain",
        "--why",
        "occlusion",
        "--at",
        "5",
    )
    assert "occlusion: the score is -" in ran.out, ran.err
    assert "parts add up to" in ran.out
    facts = unrolled(
        "inspect",
        tmp_path / "lm",
        "--backend",
        "reference",
        "the rain",
        "--why",
        "integrated",
        "--json",
    )
    facts = json.loads(facts.out)
    assert facts["told"]["probability"][0][0] is None
    parts, why = facts["told"]["why_integrated"][0], facts["why"]
    assert len(parts) == len(facts["tokens"][0]) == 8
    assert abs(why["score"] - why["empty"] - sum(parts)) < 1e-2 * abs(why["score"])
    missing = unrolled("inspect", tmp_path / "lm", "--backend", "reference", "rain.txt")
    assert (missing.code, "nothing there" in missing.err) == (2, True)


def test_the_command_looks_at_a_sentence_and_at_a_file_of_columns(unrolled, tmp_path):
    checkpoint.save(tmp_path / "tagger", tagger(crf=True))
    ran = unrolled("inspect", tmp_path / "tagger", "--backend", "reference", "the dog runs .")
    assert ran.code == 0, ran.err
    assert [line.split()[0] for line in ran.out.splitlines()[2:6]] == WORDS[0]
    lines = [f"{w} {t}" for w, t in zip(WORDS[1], TAGS[1], strict=True)]
    (tmp_path / "some.txt").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    picture = tmp_path / "p.png"
    ran = unrolled("inspect", tmp_path / "tagger", "--backend", "reference", tmp_path / "some.txt",
                   "--why", "gradient", "--at", "2", "--picture", picture)  # fmt: skip
    assert ran.code == 0, ran.err
    assert "gradient × input" in ran.out
    Image.open(picture).verify()


@pytest.mark.parametrize("task", ["language", "tag"])
def test_gradients_are_watched_while_other_tasks_train(task, tmp_path):
    if task == "language":
        data, net = corpus_of(TEXT), language(window=12)
    else:
        part = Tagged(WORDS * 5, TAGS * 5)
        data, net = TaggedDataset("words", part, part, {}, lambda: part), tagger(crf=True)
    weights = {}
    for watch in ("none", "gradients"):
        again = copy.deepcopy(net)
        settings = Settings(epochs=1, batch=4, watch=watch)
        train(again, data, settings, tmp_path / watch, progress=False)
        weights[watch] = (tmp_path / watch / "model.safetensors").read_bytes()
    assert weights["none"] == weights["gradients"]
    log = (tmp_path / "gradients" / "metrics.jsonl").read_text().splitlines()
    rows = [r for r in map(json.loads, log) if r["event"] == "gradients"]
    assert next(layer["layer"] for layer in rows[0]["layers"]) == "l0"
    assert all(layer["rate"] > 0 for layer in rows[0]["layers"])


def test_a_text_is_shown_with_its_values():
    plain = for_terminal(["ab", "\n", "나"], [1.0, 0.0, -0.5], colour=False, columns=4)
    assert plain.splitlines() == ["ab↵", "██▅", "나", "▃▃"]
    coloured = for_terminal(["a", "b"], [1.0, -0.01], colour=True)
    assert coloured == "\x1b[38;5;16;48;5;202ma\x1b[0mb"
    page = for_page(["<i>", "\n"], [float("nan"), -2.0])
    assert "&lt;i&gt;" in page
    assert "rgba(0,114,178,0.70)" in page


def test_a_network_that_tips_over_is_integrated_where_it_does():
    """A memory that is set where the input passes a threshold: its score is a step of the path."""
    layer = Recurrent("gru", 1, 1, backend="reference")
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.weight_ih_l0[2] = 3000.0  # the candidate jumps from -1 to 1 at 0.337 of the input
        layer.bias_ih_l0[2] = -3000.0 * 0.337
    x = torch.ones(1, 1, 1)
    scored = Scored(layer, lambda rows: layer(x[rows])[0], lambda out, _: out[:, 0, 0], rows=1)
    found = attribute(scored, "integrated")
    assert found.score[0] - found.empty[0] == pytest.approx(1.0, abs=1e-4)  # half of -1 to 1
    assert found.complete()
    assert found.parts[0, 0] == pytest.approx(1.0, abs=2e-3)
    assert not attribute(scored, "gradient").complete()


def test_a_word_that_is_unknown_is_shown_as_it_stands_in_the_text(tmp_path, unrolled):
    prepare = learn_texts(["good film", "bad film"], level="words")
    layers = Recurrent("gru", 6, 4, backend="reference")
    task = Classify(layers, prepare, ["+", "-"], encoder=Embedding(prepare.features, 6))
    seen = look(task, ["good yeti film", "unheard of"])
    assert seen.tokens == [["good", "yeti", "film"], ["unheard", "of"]]
    assert seen.unknown == [["yeti"], ["unheard", "of"]]
    checkpoint.save(tmp_path, task)
    ran = unrolled("inspect", tmp_path, "good yeti yeti", "--why", "gradient")
    assert "unknown to the model, read as <unk>: yeti\n" in ran.out
    assert "good yeti yeti\n" in ran.out
    assert " yeti" in ran.out.splitlines()[-1]


def test_names_of_steps_stand_apart_without_colours(tmp_path, unrolled):
    task = Classify.for_dataset(load("digits"), cell="gru", hidden=4, backend="reference")
    checkpoint.save(tmp_path / "m", task)
    np.save(tmp_path / "x.npy", load("digits").test.inputs[:1])
    ran = unrolled("inspect", tmp_path / "m", tmp_path / "x.npy", "--why", "gradient")
    assert ran.code == 0, ran.err
    assert "row 1  row 2  row 3" in ran.out
