"""Texts: cut in their order, numbered, kept in a file where they are large, or refused by name."""

import gzip
import math

import numpy as np
import pytest

from unrolled.data import catalogue, corpus, corpus_of, load, load_text, passages
from unrolled.data.passages import Passage, of_file, whole_lines
from unrolled.errors import DataError, UsageError
from unrolled.text import EOS, UNK

RHYME = "the rain in spain\nstays mainly in the plain\n" * 30


def back(part, found):
    return corpus.written(found.tokenizer, part.ids.tolist())


@pytest.mark.parametrize("level", ["characters", "subwords"])
def test_the_parts_are_the_text_in_its_order(level):
    found = corpus_of(RHYME, level=level, test=0.1, valid=100)
    assert back(found.train, found) + back(found.valid, found) + back(found.test, found) == RHYME
    assert found.valid.characters == 100
    assert found.test.characters == len(RHYME) - int(0.9 * len(RHYME))
    assert found.train.unknown == 0


@pytest.mark.parametrize("level", ["characters", "subwords"])
def test_what_validates_may_come_first(level):
    found = corpus_of(RHYME, level=level, test=0.1, valid=100, valid_from="start")
    assert back(found.valid, found) + back(found.train, found) + back(found.test, found) == RHYME
    assert found.valid.characters == 100
    assert found.test.characters == len(RHYME) - int(0.9 * len(RHYME))
    assert found.provenance["rule"] == "in the order of the text, what validates first"


def test_where_to_cut_is_refused_of_a_part_that_stands_apart(tmp_path):
    for name in ("train", "valid"):
        (tmp_path / f"{name}.txt").write_text(RHYME)
    with pytest.raises(UsageError, match="valid_from='start': expected a part that is cut"):
        load_text(tmp_path, valid_from="start")
    with pytest.raises(UsageError, match="got one that stands apart"):
        corpus_of(RHYME, valid=tmp_path / "valid.txt", valid_from="start")


def test_words_end_each_line_with_a_mark():
    found = corpus_of(RHYME, level="words", test=0, valid=0)
    assert back(found.train, found) == RHYME
    assert int((found.train.ids == EOS).sum()) == 60
    assert not len(found.valid)
    assert not len(found.test)


def test_words_of_a_vocabulary_of_twelve_are_the_frequent_ones():
    found = corpus_of("a a a b b c\n" * 5, level="words", vocabulary=6, valid=0, test=0)
    assert found.tokenizer.tokens[4:] == ["a", "b"]
    assert found.train.unknown == 5


def test_the_tokens_are_those_of_the_training_part_alone():
    found = corpus_of("abab" * 20 + "zz", valid=2, test=0)
    assert "z" not in found.tokenizer.tokens
    assert found.valid.unknown == 2
    assert found.valid.ids.tolist() == [UNK, UNK]


def test_a_trained_models_tokens_number_another_text():
    first = corpus_of("abcabc" * 9)
    again = corpus_of("cabx" * 9, tokenizer=first.tokenizer, valid=0, test=0)
    assert again.tokenizer is first.tokenizer
    assert again.train.unknown == 9


@pytest.mark.parametrize("ending", [".txt", ".txt.gz"])
def test_a_file_is_read_as_its_text(tmp_path, ending):
    path = tmp_path / f"rhyme{ending}"
    raw = RHYME.encode()
    path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    found = load_text(path, valid=0, test=0)
    assert back(found.train, found) == RHYME


def test_marks_and_line_ends_of_other_systems_are_no_characters(tmp_path):
    path = tmp_path / "windows.txt"
    path.write_bytes(b"\xef\xbb\xbf" + RHYME.replace("\n", "\r\n").encode())
    found = load_text(path, valid=0, test=0)
    assert back(found.train, found) == RHYME


@pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
def test_other_encodings_are_read_where_they_are_named(tmp_path, encoding):
    path = tmp_path / "korean.txt"
    path.write_bytes(("비가 온다\n" * 50).encode(encoding))
    found = load_text(path, encoding=encoding, valid=0, test=0)
    assert back(found.train, found) == "비가 온다\n" * 50


def test_a_letter_may_lie_across_two_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(passages, "PIECE", 5)
    path = tmp_path / "korean.txt"
    text = "비가 온다🙂\r\n" * 20
    path.write_bytes(text.encode())
    for level in ("characters", "words"):
        found = load_text(path, level=level, valid=0, test=0)
        assert back(found.train, found) == text.replace("\r\n", "\n")
    assert "".join(of_file(path).part(3, 30)) == text.replace("\r\n", "\n")[3:30]


def test_a_line_of_a_megabyte_is_a_text(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("many words without an end " * 40_000)
    found = load_text(path, level="words", valid=0, test=0)
    assert len(found.train) == 200_000
    assert len(load_text(path, test=0.5).test) == 520_000


def test_the_tokens_of_a_large_text_lie_in_a_file(tmp_path, monkeypatch):
    path = tmp_path / "large.txt"
    path.write_text(RHYME)
    plain = load_text(path, level="words")
    monkeypatch.setattr(corpus, "IN_MEMORY", 100)
    monkeypatch.setattr(passages, "PIECE", 64)
    monkeypatch.setattr(corpus, "cache_folder", lambda name: tmp_path / name)
    mapped = load_text(path, level="words")
    assert isinstance(mapped.train.ids, np.memmap)
    assert (mapped.train.ids == plain.train.ids).all()
    assert mapped.train.unknown == plain.train.unknown
    kept = sorted((tmp_path / "tokens").iterdir())
    load_text(path, level="words")
    assert sorted((tmp_path / "tokens").iterdir()) == kept
    path.write_text(RHYME + "and more\n")
    assert len(load_text(path, level="words").train) > len(plain.train)


def test_whole_lines_cut_no_word():
    pieces = list(whole_lines(["one tw", "o\nth", "ree four\nfi", "ve"]))
    assert pieces == ["one two\n", "three four\n", "five"]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "expected some text, got an empty file"),
        (b"\xef\xbb\xbf", {}, "expected some text, got an empty file"),
        (b"a", {}, "expected at least 2 tokens"),
        (b"fine\nfine\nna\xefve\n", {}, r"line 3: expected text in utf-8, got the byte 0xef"),
        (b"\x1f\x8b\x08\x00broken", {}, "expected a whole gzip file"),
        (b"text" * 9, {"encoding": "klingon"}, "encoding: expected the name of one"),
        (b"text" * 9, {"level": "letters"}, "level: expected one of characters"),
        (b"text" * 9, {"vocabulary": -1}, "vocabulary: expected a whole number"),
        (b"text" * 9, {"vocabulary": 3}, "vocabulary: expected more than 4"),
        (b"text" * 9, {"test": 36}, "test: expected a share below 1, a number below the 36"),
        (b"text" * 9, {"valid": 1.5}, "valid: expected a share below 1"),
        (b"text" * 9, {"valid_from": "middle"}, "valid_from: expected end or start, got 'middle'"),
        (b"text" * 9, {"valid": 33, "valid_from": "start"}, "valid: expected a share below 1"),
        (b"text" * 9, {"valid": "none.txt"}, r"none\.txt: expected a file"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, content, options, message):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises((DataError, UsageError), match=message):
        load_text(path, **options)


class TestNamed:
    def test_pydocs_is_inside_python(self):
        found = load_text("pydocs")
        assert "for_stmt" in back(found.test, found) + back(found.train, found)
        assert len(found.train) > 10 * len(found.valid) > 0

    def test_a_folder_of_parts_is_read_as_they_are(self, tmp_path):
        for name in ("train", "dev", "test"):
            (tmp_path / f"{name}.txt").write_text(f"{name} words here\n" * 9)
        found = load_text(tmp_path, level="words")
        assert back(found.valid, found).startswith("<unk> words here")
        assert [len(p) for p in (found.train, found.valid, found.test)] == [36, 36, 36]
        assert "read" not in found.provenance["sha256"]

    def test_a_folder_without_a_training_part_is_named(self, tmp_path):
        (tmp_path / "test.txt").write_text("x")
        with pytest.raises(DataError, match=r"expected train\.txt in the folder"):
            load_text(tmp_path)

    def test_the_published_file_and_no_other(self, tmp_path):
        (tmp_path / "input.txt").write_text("thou art not it\n" * 9)
        with pytest.raises(DataError, match="is not the published file of tinyshakespeare"):
            load_text("tinyshakespeare", data_dir=tmp_path)
        with pytest.raises(DataError, match=r"no ptb\.train\.txt, ptb\.valid\.txt"):
            load_text("ptb", data_dir=tmp_path)

    def test_a_text_is_no_dataset_of_examples_nor_the_other_way_round(self, tmp_path):
        with pytest.raises(UsageError, match="--task language"):
            load("pydocs")
        with pytest.raises(UsageError, match="digits as a text: expected a text by name"):
            load_text("digits")
        with pytest.raises(DataError, match="Did you mean 'pydocs'"):
            load_text("pydoc")
        with pytest.raises(UsageError, match="pydocs with a folder"):
            load_text("pydocs", data_dir=tmp_path)

    def test_the_treebanks_sums_are_the_published_ones(self):
        sizes = {part: file.size for part, file in catalogue.named("ptb").files.items()}
        assert sizes == {"train": 5101618, "valid": 399782, "test": 449945}


def test_a_passage_in_memory_has_its_facts():
    whole = Passage("naïve", name="five letters")
    assert whole.facts.characters == 5
    assert math.isclose(len("".join(whole.part(1, 3))), 2)
