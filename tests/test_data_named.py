"""Datasets by name: found under every spelling and layout, checked, and downloaded from mirrors.

The real files are large and not here: small ones take their place, with their own checksums.
"""

import dataclasses
import errno
import gzip
import hashlib
import http.server
import json
import struct
import threading

import numpy as np
import pytest

from unrolled import data
from unrolled.data import catalogue, download, shelves, show
from unrolled.errors import DataError, UsageError

NAMES = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "test-images": "t10k-images-idx3-ubyte",
    "test-labels": "t10k-labels-idx1-ubyte",
}


def idx(array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


@pytest.fixture
def contents():
    """What the four files of a small MNIST hold."""
    random = np.random.RandomState(0)
    return {
        "train-images": idx(random.randint(0, 256, (60, 28, 28))),
        "train-labels": idx(np.arange(60) % 10),
        "test-images": idx(random.randint(0, 256, (20, 28, 28))),
        "test-labels": idx(np.arange(20) % 10),
    }


@pytest.fixture
def small(contents, monkeypatch, tmp_path):
    """MNIST's entry in the catalogue, as if the small files were the published ones."""
    files = {
        part: catalogue.File(NAMES[part], len(held), hashlib.sha256(held).hexdigest())
        for part, held in contents.items()
    }
    entry = dataclasses.replace(
        catalogue.DATASETS["mnist"], files=files, valid=10, counts=(60, 20), mirrors=()
    )
    monkeypatch.setitem(catalogue.DATASETS, "mnist", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("UNROLLED_DATA", raising=False)
    return entry


def lay(folder, contents, *, mark="-", zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for part, held in contents.items():
        name = NAMES[part].replace("-idx", f"{mark}idx") + (".gz" if zipped else "")
        (folder / name).write_bytes(gzip.compress(held) if zipped else held)
    return folder


def test_digits_come_with_scikit_learn_and_keep_each_class_in_its_share():
    digits = data.load("digits")
    assert (len(digits.train), len(digits.valid), len(digits.test)) == (1258, 180, 359)
    assert digits.labels == list("0123456789")
    assert digits.train.inputs.dtype == np.uint8
    whole = np.bincount(np.concatenate([digits.train.targets, digits.valid.targets]))
    assert np.all(np.abs(np.bincount(digits.valid.targets) - whole * 180 / 1438) < 1)
    inputs, _ = digits.preparation(digits.train.inputs)
    assert inputs.min() == 0
    assert inputs.max() == 1


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("below", [".", "raw", "MNIST/raw", "mnist"])
def test_files_are_found_under_every_spelling_and_layout(
    tmp_path, contents, small, mark, zipped, below
):
    lay(tmp_path / "here" / below, contents, mark=mark, zipped=zipped)
    mnist = data.load("mnist", data_dir=tmp_path / "here")
    assert (len(mnist.train), len(mnist.valid), len(mnist.test)) == (50, 10, 20)
    assert mnist.preparation.features == mnist.preparation.steps == 28


def test_the_variable_names_a_shelf_of_datasets(tmp_path, contents, small, monkeypatch):
    lay(tmp_path / "shelf" / "mnist", contents)
    monkeypatch.setenv("UNROLLED_DATA", str(tmp_path / "shelf"))
    assert len(data.load("mnist", valid=0).train) == 60


def test_the_folder_given_wins_over_the_variable(tmp_path, contents, small, monkeypatch):
    monkeypatch.setenv("UNROLLED_DATA", str(tmp_path / "shelf"))
    lay(tmp_path / "given", contents)
    assert data.load("mnist", data_dir=tmp_path / "given").provenance["source"] == str(
        tmp_path / "given"
    )


def test_pixels_and_labels_are_those_of_the_files(tmp_path, contents, small):
    mnist = data.load("mnist", data_dir=lay(tmp_path / "m", contents), valid=0)
    pixels = np.frombuffer(contents["train-images"][16:], np.uint8).reshape(60, 28, 28)
    assert np.array_equal(mnist.train.inputs, pixels)
    assert np.array_equal(mnist.train.targets, np.arange(60) % 10)
    assert len(mnist.valid) == 0


def test_the_test_part_is_read_when_it_is_asked_for_and_once(tmp_path, contents, small):
    folder = lay(tmp_path / "m", contents)
    mnist = data.load("mnist", data_dir=folder)
    assert set(mnist.provenance["sha256"]) == {f"{NAMES[p]}.gz" for p in NAMES if "train" in p}
    test = mnist.test
    assert set(mnist.provenance["sha256"]) == {f"{name}.gz" for name in NAMES.values()}
    for path in folder.iterdir():
        path.unlink()
    assert mnist.test is test
    other = data.load("digits")
    assert "test" in other.provenance["sizes"]


def test_a_folder_of_idx_files_is_data_of_the_users_own(tmp_path, contents):
    own = data.load(lay(tmp_path / "m", contents))
    assert (len(own.train), len(own.valid), len(own.test)) == (54, 6, 20)
    assert own.labels == list("0123456789")


def test_what_was_loaded_can_be_told_again(tmp_path, contents, small):
    mnist = data.load("mnist", data_dir=lay(tmp_path / "m", contents), seed=3)
    said = json.loads(json.dumps(mnist.provenance))
    assert said["seed"] == 3
    assert said["rule"] == "by seed within each class"
    assert said["sizes"] == {"train": 50, "valid": 10, "test": 20}
    checksum = hashlib.sha256(contents["train-labels"]).hexdigest()
    assert said["sha256"]["train-labels-idx1-ubyte.gz"] == checksum


def test_another_gzip_of_fashion_mnist_can_be_neither_confirmed_nor_refused(tmp_path):
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(b"labels"))
    published = hashlib.sha256(path.read_bytes()).hexdigest()
    assert download.known(catalogue.File("x", 6, gz_sha256=published), path, "") is True
    assert download.known(catalogue.File("x", 6, gz_sha256="0" * 64), path, "") is None


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves what its server holds, and remembers what it was asked for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        held = self.server.held.get(self.path)
        self.send_response(404 if held is None else 200)
        self.send_header("Content-Length", str(len(held or b"")))
        self.end_headers()
        self.wfile.write(held or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(contents, monkeypatch):
    """A server on this machine with the four files, below /good/."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.held = {f"/good/{NAMES[p]}.gz": gzip.compress(held) for p, held in contents.items()}
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_lands_in_the_cache_and_is_not_repeated(mirror, small, monkeypatch):
    here = dataclasses.replace(small, mirrors=(mirror.url + "good/",))
    monkeypatch.setitem(catalogue.DATASETS, "mnist", here)
    assert shelves.locate(here) is None
    mnist = data.load("mnist")
    assert (len(mnist.train), len(mnist.test)) == (50, 20)
    assert len(mirror.asked) == 4
    cache = shelves.cache_folder("mnist")
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{n}.gz" for n in NAMES.values())
    assert len(data.load("mnist").train) == 50
    data.fetch(here)
    assert len(mirror.asked) == 4


def test_the_next_mirror_is_asked_where_one_fails(mirror, small, tmp_path):
    mirrors = [mirror.url + "none/", "http://127.0.0.1:9/", mirror.url + "good/"]
    paths = data.fetch(small, tmp_path / "to", mirrors=mirrors)
    assert set(paths) == set(NAMES)
    assert sum(path.startswith("/none/") for path in mirror.asked) == 4


def test_a_mirror_that_sends_something_else_is_passed_over(mirror, small, tmp_path):
    for name in NAMES.values():
        mirror.held[f"/bad/{name}.gz"] = b"<html>please log in</html>"
    data.fetch(small, tmp_path / "to", mirrors=[mirror.url + "bad/", mirror.url + "good/"])
    assert len(data.load("mnist", data_dir=tmp_path / "to").train) == 50


def test_a_checksum_that_differs_is_said_and_nothing_is_left(mirror, small, tmp_path, contents):
    wrong = bytearray(contents["train-images"])
    wrong[-1] ^= 1
    mirror.held[f"/good/{NAMES['train-images']}.gz"] = gzip.compress(bytes(wrong))
    with pytest.raises(DataError) as raised:
        data.fetch(small, tmp_path / "to", mirrors=[mirror.url + "good/"])
    line = str(raised.value)
    assert "as downloaded is not the published file" in line
    assert f"expected SHA-256 {small.files['train-images'].sha256}" in line
    assert hashlib.sha256(wrong).hexdigest() in line
    assert list((tmp_path / "to").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(mirror, small, tmp_path):
    folder = tmp_path / "to"
    paths = data.fetch(small, folder, mirrors=[mirror.url + "good/"])
    good = paths["test-labels"].read_bytes()
    paths["test-labels"].write_bytes(good[:-10])
    data.fetch(small, folder, mirrors=[mirror.url + "good/"])
    assert paths["test-labels"].read_bytes() == good
    assert len(mirror.asked) == 5


def test_no_network_names_both_ways_out(small, tmp_path):
    with pytest.raises(DataError) as raised:
        data.fetch(small, tmp_path, mirrors=["http://127.0.0.1:9/", "http://127.0.0.1:19/"])
    line = str(raised.value)
    assert "mnist is not on this machine and cannot be downloaded" in line
    assert "http://127.0.0.1:9/ cannot be reached; http://127.0.0.1:19/ cannot be reached" in line
    assert "unrolled data fetch mnist" in line
    assert "--data DIR (or UNROLLED_DATA" in line


def test_an_answer_that_is_no_file_is_said(mirror, small, tmp_path):
    with pytest.raises(DataError, match=r"none/ answers 404"):
        data.fetch(small, tmp_path, mirrors=[mirror.url + "none/"])


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk full. Make room"), (errno.EACCES, "Permission denied. Check who may")],
)
def test_a_disk_that_cannot_be_written_is_said(mirror, small, tmp_path, monkeypatch, number, words):
    import pooch

    def fails(*_, **__):
        raise OSError(number, "Permission denied")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fails)
    with pytest.raises(DataError) as raised:
        data.fetch(small, tmp_path / "to", mirrors=[mirror.url + "good/"])
    assert "cannot be written" in str(raised.value)
    assert words in str(raised.value)
    assert list((tmp_path / "to").iterdir()) == []


def test_a_cache_that_cannot_be_made_is_said(small, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        data.fetch(small, tmp_path / "file" / "cache")


def test_progress_is_told_for_each_file(mirror, small, tmp_path):
    seen = []
    data.fetch(
        small,
        tmp_path,
        mirrors=[mirror.url + "good/"],
        progress=lambda name, size: seen.append((name, size)),
    )
    assert len(seen) == 4
    assert (f"{NAMES['train-labels']}.gz", 68) in seen


class TestCommand:
    """`unrolled data` on the command line."""

    def test_list_says_what_is_here(self, unrolled, small, tmp_path, contents, monkeypatch):
        lay(tmp_path / "shelf" / "mnist", contents)
        monkeypatch.setenv("UNROLLED_DATA", str(tmp_path / "shelf"))
        ran = unrolled("data", "list", "--json")
        here = {row["name"]: row["here"] for row in json.loads(ran.out)}
        assert here["digits"]
        assert here["mnist"]
        assert here["pronouns"]
        assert not here["fashion-mnist"]
        assert not here["imdb"]
        lines = unrolled("data", "list").out.splitlines()
        assert len(lines) == len(here)
        assert "to fetch" in lines[2]

    def test_fetch_prints_the_paths(self, unrolled, small, mirror, monkeypatch, tmp_path):
        here = dataclasses.replace(small, mirrors=(mirror.url + "good/",))
        monkeypatch.setitem(catalogue.DATASETS, "mnist", here)
        ran = unrolled("data", "fetch", "mnist", "--data", tmp_path / "to")
        assert ran.code == 0, ran.err
        assert len(ran.out.splitlines()) == 4
        assert "carries it" in unrolled("data", "fetch", "digits").out

    def test_verify_tells_the_published_files_from_others(
        self, unrolled, small, tmp_path, contents
    ):
        folder = lay(tmp_path / "m", contents)
        ran = unrolled("data", "verify", "mnist", "--data", folder)
        assert ran.code == 0
        assert ran.out.count("as published") == 4
        wrong = contents["test-labels"][:-1] + b"\7"
        (folder / f"{NAMES['test-labels']}.gz").write_bytes(gzip.compress(wrong))
        ran = unrolled("data", "verify", "mnist", "--data", folder)
        assert ran.code == 2
        assert "is not the published file of mnist" in ran.err
        assert ran.out.count("as published") == 3

    def test_verify_of_what_is_not_here_says_how_to_get_it(self, unrolled, small):
        ran = unrolled("data", "verify", "mnist")
        assert ran.code == 2
        assert "unrolled data fetch mnist" in ran.err

    def test_show_draws_a_picture(self, unrolled, tmp_path):
        out = tmp_path / "digits.png"
        ran = unrolled("data", "show", "digits", "--out", out, "--count", "3")
        assert ran.code == 0, ran.err
        assert out.read_bytes().startswith(b"\x89PNG")
        assert "read as 8 steps of 8 features" in ran.out
        assert ran.out.splitlines()[-1] == str(out)
        facts = json.loads(unrolled("data", "show", "digits", "--out", out, "--json").out)
        assert facts["sizes"] == {"train": 1258, "valid": 180, "test": 359}

    def test_what_is_drawn_is_saved_as_images_that_a_model_reads_back(self, unrolled, tmp_path):
        folder = tmp_path / "few"
        draw = ("data", "show", "digits", "--part", "test", "--out", tmp_path / "x.png")
        assert unrolled(*draw, "--count", "4", "--images", folder).code == 0
        digits = data.load("digits")
        for path in folder.iterdir():
            label, place = path.stem.split("-")
            raw, _ = data.read_inputs(path, digits.preparation)
            assert np.array_equal(raw[0], digits.test.inputs[int(place)])
            assert label == digits.labels[digits.test.targets[int(place)]]
            assert digits.preparation(raw)[0].max() == 1
        assert len(list(folder.iterdir())) == 4
        (tmp_path / "y.npy").write_bytes(b"")
        assert unrolled(*draw, "--images", tmp_path / "y.npy").code == 2

    def test_series_are_not_saved_as_images(self, tmp_path):
        series = data.from_arrays(np.zeros((9, 3)), list("ababababa"))
        with pytest.raises(UsageError, match="images: expected a dataset of images"):
            show.save_images(series, tmp_path)

    def test_show_draws_signals_with_gaps_and_korean_labels(self, unrolled, tmp_path):
        rows = "".join(
            f"{i},{t},{'' if t == 1 else t},{i},{'걷기' if i % 2 else '뛰기'}\n"
            for i in range(10)
            for t in range(4)
        )
        path = tmp_path / "신호.csv"
        path.write_text("id,time,x,y,label\n" + rows, encoding="utf-8")
        ran = unrolled("data", "show", path, "--missing", "mask", "--out", tmp_path / "s.png")
        assert ran.code == 0, ran.err
        assert "labels (single): 걷기, 뛰기" in ran.out
        assert "read as any number of steps of 4 features" in ran.out

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [(["--count", "0"], "count: expected 1 to 100"), (["--part", "all"], "train, valid or")],
    )
    def test_show_refuses_what_it_cannot_draw(self, unrolled, tmp_path, arguments, words):
        ran = unrolled("data", "show", "digits", "--out", tmp_path / "x.png", *arguments)
        assert ran.code == 2
        assert words in ran.err
        assert len(ran.err.splitlines()) == 1

    def test_a_picture_that_cannot_be_written_is_said(self, unrolled, tmp_path):
        ran = unrolled("data", "show", "digits", "--out", tmp_path)
        assert ran.code == 2
        assert "expected the name of a file, got a folder" in ran.err
