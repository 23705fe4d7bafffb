"""Letters that no font draws are told in one sentence."""

import warnings

import pytest

from unrolled import fonts
from unrolled.errors import FontWarning
from unrolled.inspect.pictures import Style, png
from unrolled.inspect.pictures.style import figure


def draw(words):
    def made(style):
        made = figure(3, 1)
        made.text(0.1, 0.5, words)
        return made

    return made


def test_letters_without_a_font_are_told_once(monkeypatch):
    monkeypatch.setattr(fonts, "_TOLD", set())
    letters = "\ue000 and \ue001"  # of private use: no font of a system has them
    with pytest.warns(FontWarning, match="\ue000 \ue001: boxes .* Noto") as told:
        png(draw(letters), Style())
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(draw(letters), Style())
        png(draw("letters that every font has"), Style())


def test_other_warnings_of_a_picture_come_through():
    with pytest.warns(RuntimeWarning, match="of something else"), fonts.boxes_told():
        warnings.warn("of something else", RuntimeWarning, stacklevel=1)


def test_a_font_installed_since_is_found(monkeypatch):
    from matplotlib import font_manager

    manager = font_manager.fontManager
    file = font_manager.findfont("DejaVu Sans")
    left = [entry for entry in manager.ttflist if entry.fname != file]
    monkeypatch.setattr(manager, "ttflist", left)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [file, __file__])
    fonts.look_again.cache_clear()
    assert fonts.look_again() == 2  # one is no font, and passed over
    assert any(entry.fname == file for entry in manager.ttflist)
