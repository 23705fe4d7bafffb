"""Files that are all there or not at all: those of a model, and those that a user names."""

import os
import subprocess
import sys
from contextlib import suppress

import pytest

from unrolled import files
from unrolled.cli.fronts import FRONTS
from unrolled.cli.outputs import write_out
from unrolled.errors import DataError, ModelError
from unrolled.tasks import TASKS

posix = pytest.mark.skipif(os.name != "posix", reason="links and pipes as POSIX has them")


def test_what_cannot_be_finished_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with suppress(KeyError), files.whole(path) as there:
        there.write_text("half of the n")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_file_of_the_users_is_followed_and_keeps_its_mode(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link"
    path.write_text("old")
    path.chmod(0o600)
    link.symlink_to(path)
    write_out(str(link), "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


@posix
def test_standard_output_is_written_as_it_stands(tmp_path):
    program = "from unrolled.cli.outputs import write_out; write_out('/dev/stdout', 'all')"
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout == b"all"
    path = tmp_path / "out.txt"
    with path.open("wb") as file:
        subprocess.run(run, stdout=file, check=True)
    assert path.read_bytes() == b"all"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_stands_in_a_models_directory_is_replaced_not_followed(tmp_path, kind):
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "model" / "config.json"
    elsewhere.write_bytes(b"theirs")
    path.parent.mkdir()
    path.symlink_to(elsewhere) if kind == "link" else os.mkfifo(path)
    files.write(path, b"ours")
    assert path.read_bytes() == b"ours"
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == b"theirs"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be written: got No such file"):
        write_out(str(tmp_path / "none" / "a.csv"), "text")
    with pytest.raises(ModelError, match="cannot be written"):
        files.write(tmp_path / "none" / "config.json", b"text")


def test_every_task_that_answers_has_a_front():
    assert set(FRONTS) == set(TASKS) - {"embed"}  # `unrolled words` asks vectors
