"""What says things can be looked at: encoder and decoder, each by its own steps."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from unrolled import UnrolledError
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.inspect.pictures.saying import saying
from unrolled.inspect.pictures.style import Style
from unrolled.inspect.report import save_report
from unrolled.optimise import Settings
from unrolled.tasks.caption import Caption
from unrolled.tasks.decoder import shifted
from unrolled.tasks.looking import look, looked_at
from unrolled.tasks.translate import Translate
from unrolled.tasks.wording import padded
from unrolled.train import train

TEXTS = ["a b c d e", "b", "c d"]


def translator(**options):
    rows = ["a b c d", "e f", "b d f a c", "c"]
    pairs = Pairs(rows, [[row[::-1]] for row in rows])
    options = {"level": "words", "hidden": 6, "embedding": 5, "measure": "exact", **options}
    return Translate.for_dataset(PairDataset("letters", pairs, pairs), seed=3, **options), pairs


def captioner(**options):
    images = np.random.RandomState(0).randint(0, 255, (4, 8, 12), dtype=np.uint8)
    pairs = Pairs(images, [["a dog runs"], ["two dogs"], ["a cat", "one cat"], ["dogs"]])
    options = {
        "hidden": 6, "embedding": 5, "levels": 2, "channels": 4, "memory": 6, "most": 6, **options
    }  # fmt: skip
    return Caption.for_dataset(PairDataset("pets", pairs, pairs), seed=3, **options), pairs


def log_probability(task, value, numbers):
    """Of one text alone, without padding and without the inspector."""
    with torch.no_grad():
        split = task.given([value])
        memory = task.remember(next(task.batches(split, 1)))
        targets = padded([numbers])
        output, _ = task.model.decoder(shifted(targets), memory)
        return float(task.model.decoder.log_probs(output)[0].gather(1, targets[0][:, None]).sum())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feeding": "between", "layers": 2, "start": "none"},
        {"attention": "none", "start": "input"},
        {"cell": "mingru", "joint": True},
    ],
)
def test_the_score_is_the_log_probability_of_what_is_said(options):
    task, _ = translator(**options)
    task.model.eval()
    seen = look(task, TEXTS)
    assert seen.answers == [row[0].text for row in task.predict(TEXTS)]
    own = [row[0].log_prob for row in task.predict(TEXTS)]
    assert seen.loss == pytest.approx(sum(own), rel=1e-4)
    for b, one in enumerate(seen.said):
        assert np.log(one.probability).sum() == pytest.approx(own[b], rel=1e-4)
    target = task.words.encode("b a", eos=True)
    given = look(task, TEXTS, target="b a")
    wanted = [log_probability(task, text, target) for text in TEXTS]
    assert given.loss == pytest.approx(sum(wanted), rel=1e-5)
    one = look(task, TEXTS, target="b a", at=2)
    assert one.loss == pytest.approx(sum(np.log(s.probability[1]) for s in given.said), rel=1e-5)
    with pytest.raises(UnrolledError, match="a token from 1 to 3"):
        look(task, TEXTS, target="b a", at=4)


def test_encoder_and_decoder_have_steps_of_their_own():
    task, _ = translator()
    seen = look(task, TEXTS)
    titles = ["encoder.l0", "encoder.l0_reverse", "decoder.recurrent.l0"]
    assert [layer.title for layer in seen.layers] == titles
    assert seen.tokens == [[*text.split(), "<eos>"] for text in TEXTS]
    decoder = seen["decoder.recurrent.l0"]
    said = [list(one.pieces) for one in seen.said]
    assert seen.tokens_of(decoder) == said
    assert decoder.one.ends().tolist() == [len(row) for row in said]
    for b, text in enumerate(TEXTS):
        alone = look(task, [text])
        for title in titles:
            steps = int(alone[title].one.ends()[0])
            for get in (lambda layer: layer["h"], lambda layer: layer.gradient("h")):
                whole, one = get(seen[title])[b], get(alone[title])[0]
                assert np.allclose(whole[:steps], one, atol=1e-5)
                assert not whole[steps:].any()
    rows = list(seen.rows())
    heard = [r["token"] for r in rows if r["layer"] == titles[2] and r["name"] == "h"]
    assert heard == [piece for row in said for piece in row]
    arrays = seen.arrays()
    assert arrays["looked"].sum(2)[0, : len(said[0])] == pytest.approx(np.ones(len(said[0])))


def test_gradients_reach_from_what_is_said_back_to_what_was_read():
    task, _ = translator(attention="none")
    task.model.double().eval()
    seen = look(task, TEXTS[:1], target="b a")
    task.model.zero_grad()
    batch = next(task.batches(task.given(TEXTS[:1]), 1))
    targets = padded([task.words.encode("b a", eos=True)])
    output, _ = task.model.decoder(shifted(targets), task.remember(batch))
    logs = torch.log_softmax(task.model.decoder.head(output), -1)
    logs.gather(2, targets[..., None]).sum().backward()
    for name, p in task.model.named_parameters():
        if p.grad is not None:
            assert torch.allclose(seen.parameters[name], p.grad, atol=1e-6), name
    assert all(np.abs(layer.gradient("h")[0, 0]).sum() > 0 for layer in seen.layers)


def test_what_a_step_had_a_part_in():
    task, _ = translator()
    found = looked_at(task, TEXTS, "integrated", target="b a")
    assert found.parts.shape == (3, 6)
    assert np.abs(found.gap).max() < 1e-2 * np.abs(found.score - found.empty).max()
    assert not found.parts[1, 2:].any()


@pytest.mark.parametrize("encoder", ["cnn", "columns"])
def test_captions_are_looked_at(encoder):
    task, pairs = captioner(encoder=encoder)
    seen = look(task, pairs.inputs[:3])
    best = [row[0] for row in task.predict(pairs.inputs[:3])]
    assert seen.answers == [one.text for one in best]
    assert seen.loss == pytest.approx(sum(one.log_prob for one in best), rel=1e-4)
    assert [list(one.pieces) for one in seen.said] == [list(one.pieces) for one in best]
    for one, other in zip(seen.said, best, strict=True):
        assert np.allclose(one.looked, other.looked, atol=1e-5)
    if encoder == "columns":
        assert seen["columns.l0"]["h"].shape[:2] == (3, 12)
        assert seen.x_gradient.shape == seen.x.shape == (3, 12, 8)
    else:
        assert [layer.title for layer in seen.layers] == ["l0"]
        assert seen.tokens == [list(one.pieces) for one in best]
    found = looked_at(task, pairs.inputs[:1], "integrated", target="two dogs")
    assert found.parts.shape == (1, 12 if encoder == "columns" else 3)
    assert np.abs(found.gap).max() < 1e-2 * np.abs(found.score - found.empty).max()


def probed(task, text, numbers):
    """What one text is said with, by a loop of steps: states, and ∂(log probability)/∂ of each."""
    decoder = task.model.decoder
    split = task.given([text])
    memory = task.remember(next(task.batches(split, 1)))
    targets = padded([numbers])
    x, keys = decoder.embedding(shifted(targets)), decoder.keys(memory)
    (state,) = decoder.first_states(memory)
    fed, outputs, states, probes = x.new_zeros(1, decoder.width), [], [], []
    for t in range(x.shape[1]):
        _, state = decoder.recurrent.step(torch.cat([x[:, t], fed], -1), state)
        probes.append({name: torch.zeros_like(v, requires_grad=True) for name, v in state.items()})
        state = {name: v + probes[-1][name] for name, v in state.items()}
        found, _ = decoder.look(state["h"][-1].unsqueeze(1), memory, keys)
        fed = decoder.said(state["h"][-1], found[:, 0])
        outputs.append(fed)
        states.append(state)
    logs = decoder.log_probs(torch.stack(outputs, 1))
    logs.gather(2, targets[..., None]).sum().backward()
    values = {name: torch.cat([s[name][0] for s in states]).detach().numpy() for name in state}
    for probe in probes:
        for value in probe.values():
            value.grad = torch.zeros_like(value) if value.grad is None else value.grad
    slopes = {name: torch.cat([p[name].grad[0] for p in probes]).numpy() for name in state}
    return values, slopes


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("start", ["state", "input"])
def test_a_decoder_that_runs_a_step_at_a_time_is_seen_as_one_run(start, backend):
    task, _ = translator(feeding="input", start=start, cell="lstm", backend=backend)
    task.model.double().eval()
    seen = look(task, TEXTS)
    assert seen.answers == [row[0].text for row in task.predict(TEXTS)]
    titles = ["encoder.l0", "encoder.l0_reverse", "decoder.recurrent.l0"]
    assert [layer.title for layer in seen.layers] == titles
    decoder = seen["decoder.recurrent.l0"]
    said = [list(one.pieces) for one in seen.said]
    assert seen.tokens_of(decoder) == said
    assert decoder.one.ends().tolist() == [len(row) for row in said]
    for b, text in enumerate(TEXTS):
        numbers = task.words.encode(seen.answers[b], eos=True)
        values, slopes = probed(task, text, numbers)
        for name in ("h", "c"):
            steps = len(numbers)
            assert np.allclose(decoder[name][b, :steps], values[name], atol=1e-9)
            assert np.allclose(decoder.gradient(name)[b, :steps], slopes[name], atol=1e-9)
            assert not decoder[name][b, steps:].any()
            assert not decoder.gradient(name)[b, steps:].any()


def test_gradients_are_watched_where_a_decoder_runs_a_step_at_a_time(tmp_path):
    task, pairs = translator(feeding="input")
    data, settings = PairDataset("few", pairs, pairs), Settings(epochs=1, batch=2)
    settings = dataclasses.replace(settings, watch="gradients")
    train(task, data, settings, tmp_path, progress=False)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if row.get("event") == "gradients"]
    assert [one["layer"] for one in row["layers"]] == [
        "encoder.l0", "encoder.l0_reverse", "decoder.recurrent.l0",
    ]  # fmt: skip


@pytest.mark.parametrize("make", [translator, captioner])
@pytest.mark.parametrize("feeding", ["none", "input"])
def test_what_says_things_is_drawn_with_its_steps(make, feeding, tmp_path, unrolled):
    task, pairs = make(feeding=feeding)
    settings = Settings(epochs=1)
    train(task, PairDataset("few", pairs, pairs), settings, tmp_path / "m", progress=False)
    given = "a b c"
    if make is captioner:
        given = tmp_path / "one.png"
        Image.fromarray(pairs.inputs[0]).save(given)
    files = {name: tmp_path / f"{name}.png" for name in ("topology", "picture")}
    flags = [word for name, path in files.items() for word in (f"--{name}", path)]
    ran = unrolled("inspect", tmp_path / "m", given, *flags)
    assert ran.code == 0, ran.err
    assert all(path.exists() for path in files.values())
    one = look(task, [given] if make is translator else pairs.inputs[:1]).said[0]
    drawn = saying(one.parts, Style())
    words = [text.get_text() for text in drawn.axes[1].texts]
    assert all(piece in words for piece in one.pieces[-1:])


@pytest.mark.parametrize("make", [translator, captioner])
def test_a_look_while_training_changes_nothing(make, tmp_path):
    weights = []
    for watch in ("none", "gradients"):
        task, pairs = make()
        data = PairDataset("few", pairs, pairs)
        settings = Settings(epochs=1, batch=2, watch=watch)
        train(task, data, settings, tmp_path / watch, progress=False)
        weights.append(copy.deepcopy(task.model.state_dict()))
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    log = (tmp_path / "gradients" / "metrics.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in log.splitlines()]
    (row,) = [row for row in rows if row.get("event") == "gradients"]
    assert any("decoder" in one["layer"] or one["layer"] == "l0" for one in row["layers"])
    assert all(one["verdict"] for one in row["layers"])


def test_the_commands(tmp_path, unrolled):
    task, pairs = translator()
    train(
        task, PairDataset("few", pairs, pairs), Settings(epochs=1), tmp_path / "m", progress=False
    )
    ran = unrolled("inspect", tmp_path / "m", "a b c", "--why", "gradient")
    assert ran.code == 0, ran.err
    assert "gradient × input" in ran.out
    facts = json.loads(unrolled("inspect", tmp_path / "m", "a b c", "--json").out)
    assert facts["said"][0]["pieces"][-1] == "<eos>"
    assert [row["layer"] for row in facts["layers"]][-1] == "decoder.recurrent.l0"
    ran = unrolled("inspect", tmp_path / "m", "a b c", "--picture", tmp_path / "p.png")
    assert ran.code == 0, ran.err
    assert "decoder.recurrent.l0: gradients" in ran.out
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_the_report_shows_what_was_said_and_where_was_looked(tmp_path):
    task, _ = translator(feeding="between", layers=2)
    seen = look(task, TEXTS)
    page = save_report(seen, tmp_path / "r.html", b=0)
    text = page.read_text(encoding="utf-8")
    assert "What it said" in text
    assert "attention: each step looks at every place" in text
    for title in ("encoder.l0", "decoder.recurrent.l0", "decoder.upper.l0"):
        assert f"<h2>{title}: " in text


@pytest.mark.slow
def test_a_report_is_written_of_a_captioner_that_runs_a_step_at_a_time(tmp_path, unrolled):
    task, pairs = captioner(feeding="input")
    Image.fromarray(pairs.inputs[0]).save(tmp_path / "one.png")
    settings = Settings(epochs=1)
    train(task, PairDataset("few", pairs, pairs), settings, tmp_path / "m", progress=False)
    page = tmp_path / "r.html"
    ran = unrolled("inspect", tmp_path / "m", tmp_path / "one.png", "--report", page)
    assert ran.code == 0, ran.err
    assert "What it said" in page.read_text(encoding="utf-8")
    ran = unrolled("inspect", tmp_path / "m", tmp_path / "one.png", "--why", "gradient")
    assert ran.code == 2
    assert "got a step at a time" in ran.err
