"""Parallel text: lines that belong together stay together, and what is broken is named."""

import gzip
import json
import re

import pytest

from unrolled.data import catalogue
from unrolled.data.dates import LANGUAGES, drawn
from unrolled.data.parallel import load_parallel, read_sentences
from unrolled.errors import DataError, UsageError

GERMAN = "".join(f"satz {k}\n" for k in range(40))
ENGLISH = "".join(f"sentence {k}\n" for k in range(40))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def joined(dataset):
    """All pairs of all parts, as (source, target)."""
    parts = (dataset.train, dataset.valid, dataset.test)
    return sorted((s, t[0]) for p in parts for s, t in zip(p.inputs, p.texts, strict=True))


WANTED = sorted((f"satz {k}", f"sentence {k}") for k in range(40))


def test_two_files_are_read_line_by_line_however_they_are_written(tmp_path):
    one = write(tmp_path, "a.de", GERMAN)
    for name, content in (
        ("a.en", ENGLISH),
        ("b.en", ENGLISH.replace("\n", "\r\n")),
        ("c.en", b"\xef\xbb\xbf" + ENGLISH.encode()),
        ("d.en.gz", gzip.compress(ENGLISH.encode(), mtime=0)),
        ("e.en", ENGLISH.rstrip()),
    ):
        found = load_parallel(one, other=write(tmp_path, name, content), seed=3)
        assert joined(found) == WANTED
        assert (len(found.train), len(found.valid), len(found.test)) == (32, 4, 4)


def test_a_table_has_both_sides(tmp_path):
    rows = list(zip(GERMAN.splitlines(), ENGLISH.splitlines(), strict=True))
    tabs = "".join(f"{a}\t{b}\n" for a, b in rows)
    cells = "".join(f'"{a}",{b},x\n' for a, b in rows)
    lines = "".join(json.dumps({"target": b, "source": a}) + "\n" for a, b in rows)
    for name, content, options in (
        ("a.tsv", tabs, {}),
        ("b.tsv", "source\ttarget\n" + tabs, {}),
        ("c.csv", "de,en,note\n" + cells, {"text": "de", "label": "en"}),
        ("d.jsonl", lines, {}),
        ("e.jsonl", lines.replace("source", "de"), {"text": "de"}),
    ):
        assert joined(load_parallel(write(tmp_path, name, content), **options)) == WANTED


def test_a_folder_has_its_parts(tmp_path):
    for part, count in (("train", 30), ("val", 5), ("test", 5)):
        for language, text in (("de", GERMAN), ("en", ENGLISH)):
            write(tmp_path, f"{part}.{language}", "".join(text.splitlines(True)[:count]))
    found = load_parallel(tmp_path, pair="de-en")
    assert (len(found.train), len(found.valid), len(found.test)) == (30, 5, 5)
    back = load_parallel(tmp_path, pair="en-de", valid=0, test=0)
    assert (len(back.train), len(back.valid), len(back.test)) == (30, 0, 0)
    assert back.train.inputs[2] == "sentence 2"
    with pytest.raises(DataError, match="--pair de-en"):
        load_parallel(tmp_path)
    write(tmp_path, "train2.de", GERMAN)
    with pytest.raises(DataError, match="one file of the train part"):
        load_parallel(tmp_path, pair="de-en")


def test_sides_that_do_not_fit_are_named(tmp_path):
    one = write(tmp_path, "a.de", GERMAN)
    with pytest.raises(DataError, match=r"as many lines in both.*40 and 39"):
        load_parallel(one, other=write(tmp_path, "a.en", ENGLISH.replace("sentence 7\n", "")))
    other = write(tmp_path, "b.en", ENGLISH.replace("sentence 7\n", " \n"))
    with pytest.raises(DataError, match=r"b\.en, line 8: expected a text on both sides"):
        load_parallel(one, other=other)
    both = write(tmp_path, "c.de", GERMAN.replace("satz 7\n", "\n"))
    assert len(joined(load_parallel(both, other=other))) == 39
    with pytest.raises(DataError, match=r"line 2: expected a text on both sides"):
        load_parallel(write(tmp_path, "a.tsv", "a\tb\n\tc\nd\te\n"))
    with pytest.raises(DataError, match="two columns"):
        load_parallel(write(tmp_path, "b.tsv", "a\tb\tc\n"))
    with pytest.raises(DataError, match="--other FILE"):
        load_parallel(one)
    with pytest.raises(DataError, match="at least 1 pair"):
        load_parallel(write(tmp_path, "x.de", "\n\n"), other=write(tmp_path, "x.en", "\n\n"))
    with pytest.raises(DataError, match="utf-8"):
        load_parallel(write(tmp_path, "k.de", "가\n".encode("cp949")), other=one)
    with pytest.raises(UsageError, match="fewer than"):
        load_parallel(one, other=write(tmp_path, "z.en", ENGLISH), valid=39, test=1)


@pytest.mark.parametrize("pair", ["de", "de-de", "de-xx", "de en"])
def test_a_pair_that_is_none_is_refused(pair):
    with pytest.raises(UsageError, match="pair"):
        load_parallel("multi30k", pair=pair)


def test_only_parallel_text_is_translated(tmp_path):
    with pytest.raises(UsageError, match="parallel text"):
        load_parallel("mnist")
    with pytest.raises(DataError, match="unknown dataset"):
        load_parallel("multi31k")
    with pytest.raises(UsageError, match="dates with a folder"):
        load_parallel("dates", data_dir=tmp_path)


def test_a_named_dataset_wants_its_own_files_of_the_two_languages_alone(tmp_path):
    facts = catalogue.named("multi30k")
    for part in ("train", "valid", "test"):
        for language in ("de", "fr"):
            write(tmp_path, facts.files[f"{part}.{language}"].name, GERMAN)
    with pytest.raises(DataError, match=r"train\.de is not the published file"):
        load_parallel("multi30k", pair="de-fr", data_dir=tmp_path)
    with pytest.raises(DataError, match=r"train\.en"):
        load_parallel("multi30k", pair="de-en", data_dir=tmp_path)


def test_lines_are_kept_as_they_are(tmp_path):
    path = write(tmp_path, "a.txt", "a\u2028b\n\nc\n")
    assert read_sentences(path) == ["a\u2028b", "", "c"]


def test_dates_are_told_apart_and_no_part_has_anothers():
    parts, again = drawn(5), drawn(5)
    assert len(LANGUAGES) >= 30
    assert parts["train"].inputs == again["train"].inputs != drawn(6)["train"].inputs
    seen = {name: {row[0] for row in part.texts} for name, part in parts.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["valid"]
    meant = {}
    for part in parts.values():
        for text, (iso,) in zip(part.inputs, part.texts, strict=True):
            assert meant.setdefault(text, iso) == iso
            assert re.fullmatch(r"(19|20)\d\d-[01]\d-[0-3]\d", iso)
            assert iso[:4] in text
    numbers = [text for text in parts["train"].inputs if re.fullmatch(r"\d\d/\d\d/\d{4}", text)]
    assert numbers
    assert all(int(text[3:5]) <= 12 for text in numbers)
