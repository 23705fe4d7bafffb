"""Word vectors from files: the same table from every way of writing it, hostile files named."""

import gzip
import struct

import numpy as np
import pytest

from unrolled.errors import DataError, ModelError, UsageError
from unrolled.text.vectors import Vectors, read_vectors, write_vectors

WORDS = ["영화", "the", "🙂", "naïve"]
VALUES = np.arange(12, dtype=np.float32).reshape(4, 3) / 7 - 0.5


def text(words=WORDS, values=VALUES, header=True, end="\n", between=" "):
    lines = [f"{len(words)} {values.shape[1]}"] * header
    lines += [
        between.join([w, *map(repr, map(float, row))]) for w, row in zip(words, values, strict=True)
    ]
    return (end.join(lines) + end).encode()


def binary(newline=b"\n"):
    rows = (
        w.encode() + b" " + struct.pack("<3f", *v) + newline
        for w, v in zip(WORDS, VALUES, strict=True)
    )
    return b"4 3\n" + b"".join(rows)


WAYS = {
    "word2vec text": text(),
    "word2vec binary": binary(),
    "word2vec binary without line ends": binary(b""),
    "GloVe": text(header=False),
    "fastText, which ends lines in a blank": text(end=" \n"),
    "Windows": text(end="\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "tabs": text(between="\t"),
    "no last line end": text().rstrip(),
    "gzipped": gzip.compress(text()),
    "gzipped binary": gzip.compress(binary()),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_writing_gives_the_same_table(way, tmp_path):
    path = tmp_path / "v"
    path.write_bytes(WAYS[way])
    found = read_vectors(path)
    assert found.words == WORDS
    np.testing.assert_array_equal(found.values, VALUES)
    assert read_vectors(path, limit=2).words == WORDS[:2]


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_written_is_read_bit_by_bit(binary, tmp_path):
    values = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32) * 1e-3
    vectors = Vectors([f"w{i}" for i in range(50)], values)
    found = read_vectors(write_vectors(tmp_path / "v", vectors, binary=binary))
    assert found.words == vectors.words
    np.testing.assert_array_equal(found.values, values)


def test_a_word_with_blanks_is_read_as_glove_writes_it(tmp_path):
    path = tmp_path / "v"
    path.write_text("cat 1 2\n. . . 3 4\n1 5 6\n")
    assert read_vectors(path).words == ["cat", ". . .", "1"]


def test_the_first_of_two_counts(tmp_path):
    path = tmp_path / "v"
    path.write_text("a 1 2\na 3 4\nb 5 6\n")
    found = read_vectors(path)
    assert (found.words, found["a"].tolist(), found["b"].tolist()) == (["a", "b"], [1, 2], [5, 6])


def test_many_pieces_are_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr("unrolled.text.vectors._PIECE", 100)
    path = tmp_path / "v"
    values = np.arange(600, dtype=np.float32).reshape(200, 3)
    path.write_bytes(text([f"w{i}" for i in range(200)], values))
    np.testing.assert_array_equal(read_vectors(path).values, values)
    path.write_bytes(path.read_bytes().replace(b"w150 450.0", b"w150 450.0e"))
    with pytest.raises(DataError, match=r"line 152.*a word and 3 finite numbers"):
        read_vectors(path)


HOSTILE = {
    "": "some|nothing",
    "\n\n": "nothing in the first line",
    "hello world\n": "line 1.*a word and its numbers",
    "5 0\n": "line 1.*1 to 100000 numbers",
    "5 999999999\n": "line 1.*1 to 100000 numbers",
    "99999999999999999999 3\na 1 2 3\n": "line 1",
    "3 2\na 1 2\nb 3 4\n": "expected 3 words, as its first line says, got 2",
    "1 2\na 1 2\nb 3 4\n": "expected 1 words.*got more, in line 3",
    "a 1 2\nb 3\n": "line 2.*a word and 2 finite numbers",
    "2 2\na 1 2\nb 3\n": "line 3.*a word and 2 finite numbers",
    "2 2\na 1\nb 3 4\n": "line 2.*a word and 2 finite numbers",
    "a 1 2\nb 3 nan\n": "line 2",
    "a 1 2\nb 3 1e99\n": "line 2",
    "a 1 2\nb 3 x\n": "line 2.*got 3 x",
}


@pytest.mark.parametrize("content", HOSTILE)
def test_a_broken_text_is_named_with_its_line(content, tmp_path):
    path = tmp_path / "v.vec"
    path.write_text(content)
    with pytest.raises(DataError, match=HOSTILE[content]) as said:
        read_vectors(path)
    assert str(path) in str(said.value)


def test_a_broken_binary_file_is_named_with_its_byte(tmp_path):
    path = tmp_path / "v.bin"
    for cut in (3, 20, 40, len(binary()) - 5):
        path.write_bytes(binary()[:cut])
        with pytest.raises(DataError, match=r"v\.bin"):
            read_vectors(path)
    path.write_bytes(binary().replace(b"the ", b"the_"))
    with pytest.raises(DataError, match=r"byte \d+.*word \d of 4"):
        read_vectors(path)
    path.write_bytes(b"4000000000 3\n" + binary()[4:])
    with pytest.raises(DataError, match="4000000000 words"):
        read_vectors(path)
    path.write_bytes(binary().replace("naïve".encode(), b"na\xefve"))
    with pytest.raises(DataError, match="word 4: expected a word in utf-8"):
        read_vectors(path)
    assert read_vectors(path, encoding="latin-1").words[3] == "naïve"
    path.write_bytes(binary()[:9] + b"..\x00\x00\xc0\x7f"[2:] + binary()[13:])
    with pytest.raises(DataError):
        read_vectors(path)


def test_a_cut_gzip_file_is_an_error(tmp_path):
    path = tmp_path / "v.gz"
    path.write_bytes(gzip.compress(text() * 50)[:-20])
    with pytest.raises(DataError, match=r"v\.gz"):
        read_vectors(path)


def test_paths_and_options_that_cannot_be(tmp_path):
    with pytest.raises(DataError, match="nothing there"):
        read_vectors(tmp_path / "none")
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        read_vectors(tmp_path)
    (tmp_path / "v").write_bytes(text())
    with pytest.raises(UsageError, match="limit"):
        read_vectors(tmp_path / "v", limit=0)
    with pytest.raises(UsageError, match="encoding"):
        read_vectors(tmp_path / "v", encoding="utf-9")
    with pytest.raises(DataError, match="no blank"):
        write_vectors(tmp_path / "w", Vectors(["a b"], np.ones((1, 2), np.float32)))


def test_an_embedding_starts_from_the_rows_it_finds():
    vectors = Vectors(["film", "Paris"], np.array([[1, 2], [3, 4]], np.float32))
    values, found = vectors.rows(["Film", "paris", "Paris"])
    assert values.tolist() == [[1, 2], [0, 0], [3, 4]]
    assert found.tolist() == [True, False, True]
