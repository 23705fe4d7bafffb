"""Captions: what is read from folders, tars and tables, what is measured, and what is said."""

import io
import json
import math
import random
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from unrolled import tasks
from unrolled.cli import main
from unrolled.data.captions import load_captions, read_captions, read_pictures
from unrolled.data.numbers import drawn
from unrolled.data.pairs import PairDataset, Pairs
from unrolled.errors import DataError, UsageError
from unrolled.tasks.agreement import bleu, captions_agreement, words_of
from unrolled.tasks.caption import Caption
from unrolled.tasks.cider import cider
from unrolled.tasks.varying import varied
from unrolled.train import Settings, train

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


def pictures(count, seed):
    """A coloured half of an image, left or right, and what it is."""
    draw = random.Random(seed)
    images, texts = np.zeros((count, 8, 8, 3), np.uint8), []
    for k in range(count):
        colour, left = draw.choice(list(COLOURS)), draw.random() < 0.5
        images[k, :, :4] = COLOURS[colour] if left else 0
        images[k, :, 4:] = 0 if left else COLOURS[colour]
        where = "left" if left else "right"
        texts.append([f"a {colour} thing on the {where}", f"{where} is a {colour} thing"])
    return Pairs(images, texts, [f"{k}.png" for k in range(count)])


def png(image):
    data = io.BytesIO()
    Image.fromarray(image).save(data, "png")
    return data.getvalue()


def folder_of(path, count=20):
    pairs = pictures(count, 1)
    path.mkdir()
    for name, image in zip(pairs.ids, pairs.inputs, strict=True):
        (path / name).write_bytes(png(image))
    rows = [(name, text) for name, row in zip(pairs.ids, pairs.texts, strict=True) for text in row]
    (path / "captions.csv").write_text(
        "image,caption\n" + "".join(f'{name},"{text}"\n' for name, text in rows)
    )
    return pairs


def tar_of(path, members):
    with tarfile.open(path, "w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name, data=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def test_a_folder_a_tar_and_json_give_the_same_pairs(tmp_path):
    pairs = folder_of(tmp_path / "a")
    found = load_captions(tmp_path / "a", valid=2, test=3, seed=5)
    assert (len(found.train), len(found.valid), len(found.test)) == (15, 2, 3)
    kept = dict(zip(found.train.ids, found.train.texts, strict=True))
    wanted = dict(zip(pairs.ids, pairs.texts, strict=True))
    assert all(wanted[name] == texts for name, texts in kept.items())
    at = [pairs.ids.index(name) for name in found.train.ids]
    assert np.array_equal(found.train.inputs, pairs.inputs[at])
    members = [
        member(f"pictures/{name}", png(image))
        for name, image in zip(pairs.ids, pairs.inputs, strict=True)
    ]
    tar = tar_of(tmp_path / "a.tar", [*members, member("notes.txt", b"x")])
    said = tmp_path / "said.json"
    said.write_text(json.dumps(wanted))
    other = load_captions(tar, captions=said, valid=2, test=3, seed=5)
    assert other.train.texts == found.train.texts
    assert np.array_equal(other.train.inputs, found.train.inputs)
    lines = tmp_path / "said.jsonl"
    lines.write_text(
        "".join(json.dumps({"image": k, "captions": v}) + "\n" for k, v in wanted.items())
    )
    assert read_captions(lines) == read_captions(said) == wanted


def test_features_are_read_by_row_or_by_name(tmp_path):
    from safetensors.numpy import save_file

    array = np.random.RandomState(0).rand(12, 3, 3, 5).astype(np.float32)
    np.save(tmp_path / "f.npy", array)
    save_file({f"{k}.png": array[k] for k in range(12)}, tmp_path / "f.safetensors")
    by_row = {str(k): [f"text {k}"] for k in range(12)}
    by_name = {f"{k}.png": [f"text {k}"] for k in range(12)}
    for name, said in (("f.npy", by_row), ("f.safetensors", by_name)):
        (tmp_path / "c.json").write_text(json.dumps(said))
        found = load_captions(tmp_path / name, captions=tmp_path / "c.json", valid=0, test=0)
        assert found.train.inputs.shape == (12, 9, 5)
        assert np.array_equal(found.train.inputs[7], array[7].reshape(9, 5))
    (tmp_path / "c.json").write_text(json.dumps({"99": ["x"]}))
    with pytest.raises(DataError, match="no image for the captions of '99'"):
        load_captions(tmp_path / "f.npy", captions=tmp_path / "c.json")
    np.save(tmp_path / "g.npy", np.full((3, 4), np.nan))
    with pytest.raises(DataError, match="finite numbers"):
        read_pictures(tmp_path / "g.npy")
    np.save(tmp_path / "h.npy", np.zeros((3, 4), int))
    with pytest.raises(DataError, match="floating point"):
        read_pictures(tmp_path / "h.npy")


@pytest.mark.parametrize(
    "bad",
    [
        member("../a.png", b"x"),
        member("/etc/a.png", b"x"),
        member("a/../../b.png", b"x"),
        member("c:\\a.png", b"x"),
        member("C:/a.png", b"x"),
        member("a.png", kind=tarfile.SYMTYPE, link="secret"),
        member("a.png", kind=tarfile.LNKTYPE, link="secret"),
        member("a.png", kind=tarfile.CHRTYPE),
    ],
    ids=lambda one: f"{one[0].name} {one[0].type}",
)
def test_a_tar_with_a_hostile_member_is_refused(bad, tmp_path):
    good = member("ok.png", png(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(DataError, match=r"hostile path|a link or device"):
        read_pictures(tar_of(tmp_path / "bad.tar", [good, bad]))


def test_what_is_broken_or_missing_is_named(tmp_path):
    folder_of(tmp_path / "a")
    (tmp_path / "a" / "3.png").write_bytes(png(pictures(1, 1).inputs[0])[:45])
    with pytest.raises(DataError, match=r"3\.png: expected an image, got a damaged one"):
        load_captions(tmp_path / "a")
    (tmp_path / "a" / "3.png").unlink()
    with pytest.raises(DataError, match=r"no image for the captions of '3\.png'"):
        load_captions(tmp_path / "a")
    (tmp_path / "a" / "captions.csv").unlink()
    with pytest.raises(DataError, match="--captions FILE"):
        load_captions(tmp_path / "a")
    for text, word in (
        ("image,caption\na.png,\n", "line 2: expected a caption in words"),
        ("a,b\nx,y\n", "columns called image and caption"),
        ("image,caption\n", "at least 1 caption|header"),
    ):
        (tmp_path / "c.csv").write_text(text)
        with pytest.raises(DataError, match=word):
            read_captions(tmp_path / "c.csv")
    for text, word in (("[1]", "an object"), ('{"a": []}', "'a': expected a"), ("{", "JSON")):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(DataError, match=word):
            read_captions(tmp_path / "c.json")
    (tmp_path / "x.tar").write_bytes(b"not a tar at all" * 99)
    with pytest.raises(DataError, match="a whole tar"):
        read_pictures(tmp_path / "x.tar")
    twice = member("a.png", png(np.zeros((8, 8), np.uint8)))
    with pytest.raises(DataError, match="each once"):
        read_pictures(tar_of(tmp_path / "y.tar", [twice, twice]))
    with pytest.raises(UsageError, match="expected captions"):
        load_captions("mnist")
    with pytest.raises(UsageError, match="language"):
        load_captions("spoken-numbers", language="fr")


def test_numbers_are_unseen_and_so_are_their_scans():
    parts = drawn(3, "ko")
    seen = {name: set(part.ids) for name, part in parts.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["valid"]
    assert not seen["valid"] & seen["test"]
    scans = {}
    for name, part in parts.items():
        found = part.inputs.reshape(len(part), 8, 4, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
        scans[name] = {one.tobytes() for one in found if one.any()}
        for text, pixels in zip(part.ids, part.inputs, strict=True):
            assert not pixels[:, 8 * len(text) :].any()
    assert not scans["train"] & scans["test"]
    assert (
        parts["test"]
        .texts[parts["test"].ids.index(max(seen["test"], key=int))][0]
        .startswith("구천")
    )


def test_bleu_counts_by_hand():
    one = [["a", "dog", "runs", "fast"]]
    two = [[["a", "dog", "runs"], ["the", "dog", "runs", "very", "fast"]]]
    # 4 of 4 words, 2 of 3 pairs; the nearest reference is one shorter, not longer
    assert bleu(one, two, 1) == pytest.approx(100)
    assert bleu(one, two, 2) == pytest.approx(100 * (2 / 3) ** 0.5)
    short = bleu([["a", "dog"]], [[["a", "dog", "runs", "fast"]]], 1)
    assert short == pytest.approx(100 * math.exp(1 - 4 / 2))
    # said twice, counted as often as one reference has it
    assert bleu([["a", "a", "b"]], [[["a", "b"], ["a"]]], 1) == pytest.approx(100 * 2 / 3)
    assert bleu([["x"]], [[["y"]]], 1) == 0
    from sacrebleu.metrics import BLEU

    said = ["a man in a red shirt climbs a rock", "two dogs run on the grass today"]
    people = [
        ["a man climbs a big rock wall", "a climber in a red shirt is on a rock"],
        ["two dogs are running on green grass", "the dogs run on the grass"],
    ]
    theirs = BLEU(tokenize="none", smooth_method="none").corpus_score(
        said, [list(column) for column in zip(*people, strict=True)]
    )
    ours = bleu([s.split() for s in said], [[t.split() for t in row] for row in people], 4)
    assert ours == pytest.approx(theirs.score)


def test_cider_in_closed_cases():
    people = [[["a", "b", "c", "d"]], [["e", "f", "g", "h"]], [["i", "j", "k", "l"]]]
    same = [row[0] for row in people]
    assert cider(same, people) == pytest.approx(10)
    assert cider([["x"] * 4] * 3, people) == 0
    # an n-gram that all images share tells nothing
    common = [[["z"]], [["z"]]]
    assert cider([["z"], ["z"]], common) == 0
    # one image of three gets another's caption: a third is lost
    assert cider([same[0], same[1], same[0]], people) == pytest.approx(20 / 3)
    # a caption of half the words: one word and pair less, and the lengths differ by one
    said = [["a", "b", "c"], same[1], same[2]]
    cosines = [3 / 12**0.5, 2 / 6**0.5, 1 / 2**0.5, 0]
    wanted = sum(cosines) / 4 * math.exp(-1 / 72)
    assert cider(said, people) == pytest.approx(10 * (wanted + 2) / 3)
    # saying a word twice is clipped to once, while its own length grows
    said = [["a", "a"], same[1], same[2]]
    wanted = 1 / (2 * 4**0.5) / 4 * math.exp(-4 / 72)
    assert cider(said, people) == pytest.approx(10 * (wanted + 2) / 3)


def test_shuffled_images_are_the_control():
    people = [[f"thing {k} stands alone in place {k}"] for k in range(30)]
    found = captions_agreement([row[0] for row in people], people)
    assert found["bleu4"] == pytest.approx(100)
    assert found["bleu4_shuffled"] < 50
    assert found["distinct"] == 1
    blind = captions_agreement(["thing stands alone in place"] * 30, people)
    assert blind["bleu4"] == pytest.approx(blind["bleu4_shuffled"])
    assert words_of("A man's dog , running !") == ["a", "man's", "dog", "running"]


def toy(**options):
    none = pictures(1, 1).take([])
    data = PairDataset("halves", pictures(120, 1), none, {}, lambda: pictures(30, 3))
    small = {"hidden": 32, "embedding": 16, "levels": 2, "channels": 8, "memory": 16, **options}
    return Caption.for_dataset(data, **small), data


@pytest.mark.parametrize(
    ("options", "epochs", "lr", "least"),
    [
        ({}, 45, 0.006, 90),
        ({"attention": "none"}, 45, 0.006, 90),
        # Sees the image once and has to keep it: 81 at most, of several rates and lengths.
        pytest.param(
            {"attention": "none", "start": "input", "cell": "gru"},
            *(90, 0.004, 75),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"encoder": "columns", "attention": "additive", "cell": "gru", "feeding": "between"},
            *(45, 0.006, 90),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["grid", "state", "first input", "columns"],
)
def test_a_small_network_learns_to_say_what_is_where(options, epochs, lr, least, tmp_path):
    task, data = toy(beams=2, most=12, **options)
    result = train(
        task, data, Settings(epochs=epochs, batch=12, lr=lr), tmp_path / "m", progress=False
    )
    assert result.test["bleu4"] > least
    assert result.test["bleu4_shuffled"] < result.test["bleu4"] - 20
    loaded = tasks.load(tmp_path / "m")
    said = loaded.predict(data.test.inputs[:4], beams=3, best=2)
    again = task.predict(data.test.inputs[:4], beams=3, best=2)
    assert [[one.text for one in row] for row in said] == [[o.text for o in r] for r in again]
    for image, row in zip(data.test.inputs[:4], said, strict=True):
        alone = loaded.predict(image[None], beams=3, best=2)[0]
        assert [one.text for one in alone] == [one.text for one in row]
        assert np.allclose([s.score for s in alone], [s.score for s in row], atol=1e-4)
        if row[0].looked is not None:
            assert np.allclose(row[0].looked.sum(1), 1, atol=1e-5)


def test_features_take_the_place_of_a_network():
    task, data = toy()
    features = data.train.inputs[:, ::4, ::4].reshape(120, 4, 3).astype(np.float32) / 255
    pairs = Pairs(features, data.train.texts)
    task = Caption.for_dataset(PairDataset("f", pairs, pairs), hidden=16, memory=8, embedding=8)
    assert task.model.kind == "features"
    assert task.predict(features[:2])[0][0].looked.shape[1] == 4
    with pytest.raises(DataError, match="inputs of shape"):
        task.predict(data.train.inputs[:2])
    flat = Pairs(features.reshape(120, 12), data.train.texts)
    assert Caption.for_dataset(PairDataset("f", flat, flat), hidden=8).model.shape == (1, 12)


def test_training_images_are_moved_and_mirrored_by_their_own_draws():
    images = np.arange(2 * 1 * 4 * 5, dtype=np.float32).reshape(2, 1, 4, 5)
    moved = varied(images, np.random.RandomState(0), crop=1)
    wide = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    for k in range(2):
        spots = [wide[k, :, y : y + 4, x : x + 5] for y in range(3) for x in range(3)]
        assert any(np.array_equal(moved[k], spot) for spot in spots)
    turned = [varied(images, np.random.RandomState(s), flip=True)[0] for s in range(20)]
    assert any(np.array_equal(t, images[0, :, :, ::-1]) for t in turned)
    assert any(np.array_equal(t, images[0]) for t in turned)
    task, data = toy(crop=2, flip=True, elastic=0.5)
    one, two, other = (next(task.batches(data.train, 8, seed=s, epoch=3)).inputs for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_bending_moves_each_pixel_a_little_and_smoothly():
    height, width = 8, 32
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    images = np.stack([rows, columns])[None].repeat(50, 0)  # each pixel says where it came from
    bent = varied(images, np.random.RandomState(0), elastic=0.5)
    way = (bent - images)[:, :, 2:-2, 2:-2]  # the edge goes on beyond itself, and says less
    assert 0.3 < way.std() < 0.6
    assert abs(way.mean()) < 0.05
    assert np.abs(np.diff(way, axis=3)).mean() < 0.5 * np.abs(way).mean()
    np.testing.assert_allclose(
        varied(images, np.random.RandomState(0), elastic=1e-6), images, atol=1e-3
    )
    one = varied(images[:1], np.random.RandomState(1), elastic=0.5)
    assert not np.array_equal(one, varied(images[:1], np.random.RandomState(2), elastic=0.5))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"encoder": "resnet"}, "encoder"),
        ({"encoder": "features"}, "features where features are given"),
        ({"levels": 0}, "levels"),
        ({"channels": 0}, "channels"),
        ({"crop": -1}, "crop"),
        ({"elastic": -1}, "elastic"),
        ({"elastic": "much"}, "elastic"),
        ({"measure": "bleu"}, "measure"),
    ],
)
def test_options_that_cannot_be_are_refused(options, word):
    with pytest.raises(UsageError, match=word):
        toy(**options)


def test_from_the_command_line(tmp_path, capsys):
    folder_of(tmp_path / "a", 40)
    model = str(tmp_path / "m")

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        assert left.value.code == 0
        return capsys.readouterr()

    small = ["hidden=12", "embedding=6", "levels=2", "channels=4", "memory=8"]
    sets = [word for one in small for word in ("--set", one)]
    said = run("train", tmp_path / "a", "--task", "caption", "--epochs", 2, "--out", model, *sets)
    assert "BLEU-4" in said.out
    found = json.loads(run("eval", model, "--json").out)
    assert found["count"] == 4
    assert {"bleu1", "bleu4", "bleu4_shuffled", "cider", "distinct"} <= set(found)
    picture = tmp_path / "look.png"
    one = run("predict", model, tmp_path / "a" / "1.png", "--attention", picture)
    assert one.out.startswith("1.png\t")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    whole = tmp_path / "whole.png"
    run("inspect", model, tmp_path / "a" / "1.png", "--topology", whole)
    assert whole.read_bytes()[:4] == b"\x89PNG"
    assert "gradients" in run("inspect", model, tmp_path / "a" / "1.png").out
    rows = run("predict", model, tmp_path / "a", "--best", 2).out.splitlines()
    assert len(rows) == 80
    assert rows[0].startswith("0.png\t-")
