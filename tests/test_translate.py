"""Translating: what is looked at, what padding changes (nothing), and what is said in the end."""

import io
import json
import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from unrolled import tasks
from unrolled.cells import names
from unrolled.cli import main
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.errors import ModelError, UsageError
from unrolled.layers import Recurrent
from unrolled.layers.attention import Attention
from unrolled.tasks.agreement import agreement
from unrolled.tasks.decoder import Decoder, Memory, Saying, shifted
from unrolled.tasks.next_token import fast_loss
from unrolled.tasks.sampling import Taste
from unrolled.tasks.translate import Translate
from unrolled.text import BOS, EOS
from unrolled.train import Settings, train


def reversals(count, seed):
    """Letters, to be said backwards."""
    draw = random.Random(seed)
    rows = [[draw.choice("abcdefg") for _ in range(draw.randint(1, 6))] for _ in range(count)]
    return Pairs([" ".join(row) for row in rows], [[" ".join(row[::-1])] for row in rows])


def toy(**options):
    data = PairDataset("backwards", reversals(300, 1), reversals(40, 2), {})
    options = {"level": "words", "hidden": 16, "embedding": 8, "measure": "exact", **options}
    return Translate.for_dataset(data, **options), data


@pytest.mark.parametrize("kind", ["multiplicative", "additive"])
def test_attention_is_its_formula_sums_to_one_and_ignores_padding(kind):
    attention = Attention(5, 3, kind)
    queries, memory = torch.randn(2, 4, 5), torch.randn(2, 6, 3)
    valid = torch.arange(6) < torch.tensor([[6], [4]])
    found, weights = attention(queries, memory, attention.keys(memory), valid)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4))
    assert bool((weights[1, :, 4:] == 0).all())
    for t in range(4):
        scores = []
        for s in range(4):
            key = attention.of_memory.weight @ memory[1, s]
            if kind == "multiplicative":
                scores.append(queries[1, t] @ key / 5**0.5)
            else:
                both = torch.tanh(attention.of_query(queries[1, t]) + key)
                scores.append((attention.weigh.weight @ both)[0])
        weight = torch.softmax(torch.stack(scores), 0)
        assert torch.allclose(weight, weights[1, t, :4], atol=1e-6)
        assert torch.allclose(weight @ memory[1, :4], found[1, t], atol=1e-6)
    other = memory.clone()
    other[1, 4:] = 1e6
    changed, _ = attention(queries, other, attention.keys(other), valid)
    assert torch.equal(changed[1], found[1])


def decoder_of(cell, feeding, attention="multiplicative", start="state", tied=True, **options):
    fed = (6 if tied else 7) if feeding == "input" else 0
    upper = Recurrent(cell, 7 + 4, 7, **options) if feeding == "between" else None
    return Decoder(
        Recurrent(cell, 6 + fed, 7, **options),
        11,
        embedding=6,
        memory=4,
        summary=3,
        upper=upper,
        attention=attention,
        feeding=feeding,
        start=start,
        tied=tied,
    ).eval()


CASES = [
    ("lstm", "none", "multiplicative", "state", True),
    ("gru", "between", "additive", "state", False),
    ("lstm", "input", "multiplicative", "input", False),
    ("lem", "input", "additive", "none", True),
    ("lstm", "none", "none", "input", True),
    ("slstm", "between", "multiplicative", "state", True),
    ("qrnn", "none", "additive", "state", False),
]


@pytest.mark.parametrize("case", CASES, ids="-".join(map(str, range(len(CASES)))).split("-"))
def test_a_decoders_steps_are_its_run_over_the_whole_sequence(case):
    # two cells are compiled, which takes seconds for each; the others run by the reference
    backend = "auto" if case[0] in ("lstm", "gru") else "reference"
    decoder = decoder_of(*case, backend=backend)
    memory = Memory(
        torch.randn(3, 5, 4), torch.arange(5) < torch.tensor([[5], [2], [3]]), torch.randn(3, 3)
    )
    tokens = torch.randint(4, 11, (3, 6))
    tokens[:, 0] = BOS
    with torch.no_grad():
        output, _ = decoder(tokens, memory)
        whole = decoder.head(output)
        saying = Saying(decoder, memory, 2)
        for t in range(6):
            logits = saying(tokens[:, t].repeat_interleave(2))
            assert torch.allclose(logits.view(3, 2, 11)[:, 0], whole[:, t], atol=1e-5)
            assert torch.allclose(logits[::2], logits[1::2], atol=1e-6)
            if t == 2:
                saying.pick(torch.tensor([1, 0, 3, 2, 5, 4]))
            if t == 3:
                saying.pick(torch.tensor([2, 3, 4, 5]), torch.tensor([1, 2]))
                tokens, whole = tokens[1:], whole[1:]
                tokens = torch.cat([tokens, tokens[:1]])[:2]
                break
        for t in range(4, 6):
            logits = saying(tokens[:, t].repeat_interleave(2))
            assert torch.allclose(logits.view(2, 2, 11)[:, 1], whole[:, t], atol=1e-5)


@pytest.mark.parametrize("cell", names())
def test_any_cell_of_the_catalogue_decodes_and_learns(cell):
    decoder = decoder_of(cell, "none", backend="reference").train()
    memory = Memory(torch.randn(2, 5, 4), None, torch.randn(2, 3))
    targets = torch.tensor([[5, 6, EOS], [7, EOS, 0]])
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.02)
    losses = []
    for _ in range(6):
        loss = decoder.loss(decoder(shifted(targets), memory)[0], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_the_fast_loss_smooths_labels_as_pytorch_does():
    output, weight = torch.randn(40, 16, requires_grad=True), torch.randn(1000, 16) / 4
    weight.requires_grad_()
    bias, targets = torch.zeros(1000, requires_grad=True), torch.randint(1000, (40,))
    found = fast_loss(output, weight, bias, targets, smoothing=0.2)
    grads = torch.autograd.grad(found, (output, weight, bias))
    wanted = functional.cross_entropy(output @ weight.T + bias, targets, label_smoothing=0.2)
    assert abs(found.item() - wanted.item()) < 0.01
    for mine, theirs in zip(
        grads, torch.autograd.grad(wanted, (output, weight, bias)), strict=True
    ):
        assert (mine - theirs).abs().max() < 0.02 * theirs.abs().max()


def test_tokens_of_ones_own_are_mixed_in_as_often_as_asked_for():
    decoder = decoder_of("gru", "none")
    memory = Memory(torch.randn(50, 5, 4), None, torch.randn(50, 3))
    tokens = torch.randint(4, 11, (50, 20))
    tokens[:, 0] = BOS
    keys, states = decoder.keys(memory), decoder.first_states(memory)
    decoder.sampling = 0.5
    mixed = decoder._own(tokens, memory, keys, states)
    own = decoder.head(decoder(tokens, memory)[0]).argmax(-1)[:, :-1]
    differ = own != tokens[:, 1:]
    taken = (mixed[:, 1:] == own) & differ
    assert torch.equal(mixed[:, 0], tokens[:, 0])
    assert bool(((mixed == tokens) | torch.cat([tokens[:, :1], own], 1).eq(mixed)).all())
    share = taken.sum().item() / differ.sum().item()
    assert abs(share - 0.5) < 4 * (0.25 / differ.sum().item()) ** 0.5


def test_what_a_sentence_gets_does_not_depend_on_those_beside_it():
    task, _ = toy(joint=False)
    texts = ["a b c d e f", "g", "b a", "c c c", "d e", "f"]
    together = task.predict(texts, beams=4, best=3)
    for text, said in zip(texts, together, strict=True):
        alone = task.predict([text], beams=4, best=3)[0]
        assert [one.text for one in alone] == [one.text for one in said]
        assert np.allclose([s.score for s in alone], [s.score for s in said], atol=1e-5)
        for one in said:
            assert one.looked.shape == (len(one.pieces), len(text.split()) + 1)
            assert np.allclose(one.looked.sum(1), 1, atol=1e-5)
    batches = list(task.batches(Pairs(texts, [["a b"]] * 6), 6))
    whole = task.model(batches[0])
    for k, at in enumerate(batches[0].index.tolist()):
        single = next(task.batches(Pairs(texts[at : at + 1], [["a b"]]), 1))
        assert torch.allclose(task.model(single)[0], whole[k, :3], atol=1e-5)


def test_a_hypothesis_has_the_probability_of_its_tokens():
    task, _ = toy(feeding="input")
    task.model.eval()
    for one in task.predict(["a b c"], beams=5, best=5)[0]:
        numbers = [*task.tokenizer.target.encode(one.text), EOS]
        memory = task.model.encode(
            torch.tensor([task.tokenizer.source.encode("a b c", eos=True)]), torch.tensor([4])
        )
        with torch.no_grad():
            output, _ = task.model.decoder(shifted(torch.tensor([numbers])), memory)
            chances = task.model.decoder.log_probs(output)[0]
        total = sum(chances[t, n].item() for t, n in enumerate(numbers))
        assert abs(total - one.log_prob) < 1e-4
        assert abs(total / len(numbers) - one.score) < 1e-4


def test_a_small_network_learns_to_say_things_backwards_and_is_the_same_when_loaded(tmp_path):
    task, data = toy(hidden=40, embedding=16)
    data = PairDataset("backwards", reversals(900, 1), reversals(80, 2), {}, data.read_test)
    result = train(
        task, data, Settings(epochs=8, batch=32, lr=0.02), tmp_path / "m", progress=False
    )
    assert result.valid["exact"] > 0.9
    loaded = tasks.load(tmp_path / "m")
    texts = ["a b c", "g f e d"]
    for one, other in zip(task.predict(texts), loaded.predict(texts), strict=True):
        assert one[0].text == other[0].text
        assert one[0].score == other[0].score
    drawn = loaded.predict(texts, best=3, taste=Taste(temperature=2.0), seed=4)
    again = loaded.predict(texts, best=3, taste=Taste(temperature=2.0), seed=4)
    assert [[one.text for one in row] for row in drawn] == [[o.text for o in r] for r in again]
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    del config["task"]["encoder"]
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="encoder"):
        tasks.load(tmp_path / "m")


def test_agreement_is_sacrebleus():
    said = ["the cat sat on the mat today", "a dog runs in the park"]
    found = agreement(said, [["the cat sat on the mat today"], ["A dog runs in the park"]])
    assert found["bleu"] == pytest.approx(100)
    assert found["exact"] == 1
    assert "case:lc" in found["signature"]
    assert "tok:13a" in found["signature"]
    half = agreement(said, [["the cat sat on the mat today"], ["two birds sing very loud songs"]])
    # 1-grams 7+0 of 13, 2: 6 of 11, 3: 5 of 9, 4: 4 of 7; equally long
    wanted = 100 * (7 / 13 * 6 / 11 * 5 / 9 * 4 / 7) ** 0.25
    assert half["bleu"] == pytest.approx(wanted)
    with pytest.raises(UsageError, match="measure"):
        agreement(said, [["a"], ["b"]], "rouge")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"attention": "none", "feeding": "between"}, "feeding"),
        ({"feeding": "sideways"}, "feeding"),
        ({"attention": "loud"}, "attention"),
        ({"feeding": "input", "variational": 0.1}, "variational"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"token_dropout": 0.1}, "token_dropout"),
        ({"beams": 0}, "beams"),
        ({"measure": "f1"}, "measure"),
        ({"most": 0}, "most"),
    ],
)
def test_options_that_cannot_be_are_refused(options, word):
    with pytest.raises(UsageError, match=word):
        toy(**options)
    task, _ = toy()
    with pytest.raises(UsageError, match="a text"):
        task.predict(["a", " "])


def test_from_the_command_line(tmp_path, capsys, monkeypatch):
    pairs = reversals(60, 3)
    rows = zip(pairs.inputs, pairs.texts, strict=True)
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{text}\t{said[0]}\n" for text, said in rows))
    model = str(tmp_path / "m")

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        assert left.value.code == 0
        return capsys.readouterr()

    small = ["level=words", "hidden=12", "embedding=6", "feeding=between", "measure=bleu"]
    sets = [word for one in small for word in ("--set", one)]
    said = run("train", path, "--task", "translate", "--epochs", 2, "--out", model, *sets)
    assert "BLEU" in said.out
    assert "sacreBLEU counts" in (tmp_path / "m" / "README.md").read_text()
    found = json.loads(run("eval", model, "--json").out)
    assert found["part"] == "test"
    assert found["count"] == 6
    assert "tok:13a" in found["signature"]
    assert "sacreBLEU nrefs:1" in run("eval", model, path).out
    lines = tmp_path / "new.txt"
    lines.write_text("a b c\n\nd e\n")
    assert len(run("predict", model, lines).out.splitlines()) == 3
    ranked = run("predict", model, lines, "--beams", 3, "--best", 2).out.splitlines()
    assert [row.split("\t")[0] for row in ranked] == ["1", "1", "3", "3"]
    picture = tmp_path / "look.png"
    one = run("predict", model, "--prompt", "a b", "--json", "--attention", picture).out
    assert json.loads(one)["said"][0]["score"] < 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    whole = tmp_path / "whole.png"
    run("inspect", model, lines, "--topology", whole)
    assert whole.read_bytes()[:4] == b"\x89PNG"
    assert "decoder.recurrent.l0: gradients" in run("inspect", model, lines).out
    out = tmp_path / "out.jsonl"
    run("predict", model, lines, "--sample", "--best", 2, "--seed", 1, "--out", out)
    assert len([json.loads(row) for row in out.read_text().splitlines()]) == 3
    monkeypatch.setattr("sys.stdin", io.StringIO("a b c\n\nd e\n"))
    assert run("predict", model, "--interactive").out.count("\t") == 1
