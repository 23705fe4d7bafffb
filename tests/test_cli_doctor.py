"""`unrolled doctor`: what it finds is what is there, and what is missing comes with its fix."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from unrolled import messages
from unrolled.cli import doctor
from unrolled.fonts import look_again
from unrolled.inspect.pictures import style


def test_it_says_what_is_there(unrolled):
    report = json.loads(unrolled("doctor", "--json").out)
    assert list(report) == list(doctor.LOOKS)
    assert report["torch"]["version"] == torch.__version__
    assert report["torch"]["threads"] == torch.get_num_threads()
    assert "cpu" in report["devices"]["devices"]
    assert report["packages"]["matplotlib"] == matplotlib.__version__
    assert report["python"]["version"] == ".".join(map(str, sys.version_info[:3]))


def test_it_is_a_table_for_people(unrolled):
    lines = unrolled("doctor").out.splitlines()
    assert [line.split()[1] for line in lines if not line.startswith(" ")] == list(doctor.LOOKS)


def test_it_speaks_korean(unrolled):
    assert "컴파일러" in unrolled("doctor", "--lang", "ko").out


def test_no_compiler_is_said_with_the_fix(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found = doctor.compiler()
    assert not found.ok
    assert found.fix


@pytest.mark.skipif(os.name == "nt", reason="a script with a shebang is no program on Windows")
def test_the_compiler_is_the_one_that_cc_names(monkeypatch, tmp_path):
    fake = tmp_path / "mycc"
    fake.write_text("#!/bin/sh\necho mycc 7.1\n", encoding="utf-8")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(fake))
    assert doctor.compiler().facts["version"] == "mycc 7.1"


@pytest.mark.skipif(os.name == "nt", reason="a script with a shebang is no program on Windows")
def test_a_compiler_that_fails_to_start_is_no_crash(monkeypatch, tmp_path):
    fake = tmp_path / "broken"
    fake.write_bytes(b"\x7fELF broken")
    fake.chmod(0o700)
    monkeypatch.setenv("CC", str(fake))
    assert "cannot be read" in doctor.compiler().found


def test_the_cache_is_measured(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3000)
    found = doctor._folder(tmp_path, "XDG_CACHE_HOME")
    assert found.ok
    assert found.facts["bytes"] == 3000
    assert "2.9 KiB used" in found.found


def test_a_cache_that_does_not_exist_yet_is_fine(tmp_path):
    found = doctor._folder(tmp_path / "not" / "yet", "XDG_CACHE_HOME")
    assert found.ok
    assert found.facts["bytes"] == 0


def test_a_cache_that_is_a_file_is_said_with_the_fix(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    found = doctor._folder(file, "XDG_CACHE_HOME")
    assert not found.ok
    assert "XDG_CACHE_HOME" in found.fix


def test_a_data_folder_that_is_not_there_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("UNROLLED_DATA", str(tmp_path / "nowhere"))
    found = doctor.data()
    assert not found.ok
    assert "UNROLLED_DATA" in found.fix


def test_datasets_that_are_there_are_counted(monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setenv("UNROLLED_DATA", str(tmp_path))
    assert doctor.data().facts["datasets"] == ["mnist"]


class Fonts:
    """A font manager that knows only these fonts."""

    def __init__(self, *entries):
        self.ttflist = [type("Entry", (), {"name": n, "fname": f})() for n, f in entries]


def bundled(name):
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", name))


@pytest.fixture
def looked_for():
    """The font is looked for again, and again after it; Matplotlib knows all fonts by then."""
    look_again()
    style.korean_family.cache_clear()
    yield style.korean_family
    style.korean_family.cache_clear()


def test_a_font_without_korean_does_not_count(monkeypatch, looked_for):
    fonts = Fonts(
        ("DejaVu Sans", bundled("DejaVuSans.ttf")),
        ("Noto Gone", "nowhere.ttf"),
        ("Last Resort High-Efficiency", bundled("LastResortHE-Regular.ttf")),
    )
    monkeypatch.setattr("matplotlib.font_manager.fontManager", fonts)
    assert looked_for() == ""
    assert doctor.fonts().fix


def test_a_font_with_the_letters_counts(monkeypatch, looked_for):
    fonts = Fonts(("DejaVu Sans", bundled("DejaVuSans.ttf")))
    monkeypatch.setattr("matplotlib.font_manager.fontManager", fonts)
    monkeypatch.setattr(style, "HANGUL", "éñ")  # letters that the bundled font does have
    assert looked_for() == "DejaVu Sans"


def test_missing_extras_come_with_the_command(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"text": ("no_such_module", "subword tokenizers")})
    assert "unrolled[text]" in doctor.extras().fix


@pytest.mark.parametrize(("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB")])
def test_sizes_are_said_in_binary_units(count, said):
    assert doctor._size(count) == said
    assert doctor._size(5 * 2**40) == "5.0 TiB"


def test_korean_columns_line_up():
    messages.use("ko")
    assert len(doctor._padded("글꼴", 12)) == 10
    assert len(doctor._padded("fonts", 12)) == 12
