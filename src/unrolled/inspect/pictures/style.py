"""How pictures look: a theme's name comes in, colours, fonts and a finished PNG go out."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from ... import messages
from ...fonts import boxes_told, look_again
from ...messages import language, tr
from ..shade import width as columns

# Okabe and Ito 2008: eight colours that people with any colour vision tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
HANGUL = "가힣한"


@dataclass(frozen=True)
class Style:
    """Light, for screens and paper, or dark.

    Example:
        >>> Style(dark=True).ink
        '#e6e6e6'
    """

    dark: bool = False

    @property
    def ink(self) -> str:
        """The colour of text and axes."""
        return "#e6e6e6" if self.dark else "#1a1a1a"

    @property
    def paper(self) -> str:
        """The colour behind everything."""
        return "#16181c" if self.dark else "#ffffff"

    @property
    def faint(self) -> str:
        """The colour of grids and of what stands back."""
        return "#4a4e57" if self.dark else "#d0d0d0"

    @property
    def signed(self) -> Any:
        """A map of colours for values around 0, which is the colour of the paper."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list("signed", ["#0072B2", self.paper, "#D55E00"])

    @property
    def typewriter(self) -> list[str]:
        """Families whose letters are of one width, and one that draws Korean where there is one."""
        return ["DejaVu Sans Mono", *([korean_family()] if korean_family() else [])]

    @property
    def weight(self) -> Any:
        """A map of colours for weights from 0, which is the colour of the paper."""
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list(
            "weight", [self.paper, "#56B4E9" if self.dark else "#0072B2"]
        )

    @property
    def graded(self) -> str:
        """The map of colours for values from 0 up."""
        return "cividis"


@functools.cache
def korean_family() -> str:
    """A font here that draws Korean; empty where there is none.

    The well-known families are looked at first: opening every font of a system takes a while.
    """
    from matplotlib import font_manager, ft2font

    look_again()
    known = "Nanum Noto Malgun AppleGothic Apple Un Baekmuk Gulim Batang Source".split()

    def rank(entry):
        return min((k for k, word in enumerate(known) if entry.name.startswith(word)), default=99)

    for entry in sorted(font_manager.fontManager.ttflist, key=lambda e: (rank(e), e.name)):
        if entry.name.startswith("Last Resort"):
            continue  # it has a box for every letter, and no letter
        try:
            font = ft2font.FT2Font(entry.fname)
        except (OSError, RuntimeError):
            continue  # a font file that is gone or broken draws nothing
        if all(font.get_char_index(ord(letter)) for letter in HANGUL):
            return entry.name
    return ""


def missing_font() -> str:
    """What to say where Korean is spoken and no font draws it; empty where all is well."""
    if language() != "ko" or korean_family():
        return ""
    return tr(
        "No font here draws Korean: pictures speak English. Install one, such as Nanum Gothic "
        "(`apt install fonts-nanum`); `unrolled doctor` looks for it."
    )


def png(draw: Callable[[Style], Any], style: Style | None = None, dpi: int = 110) -> bytes:
    """A picture as the bytes of a PNG file.

    Args:
        draw: from a style to a figure.
        style: light where nothing is said.
        dpi: pixels an inch.

    Warns:
        FontWarning: letters that no font here draws are boxes.
    """
    from matplotlib import rc_context

    style = style or Style()
    spoken, family = language(), korean_family()
    colours = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), style.ink
    )
    backs = dict.fromkeys(
        ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"),
        style.paper,
    )
    rest = {
        "font.family": ["DejaVu Sans", *([family] if family else [])],
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": False,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "grid.color": style.faint,
        "text.parse_math": False,
    }
    messages.use("ko" if spoken == "ko" and family else "en")
    try:
        settings: Any = {**colours, **backs, **rest}
        with rc_context(settings), boxes_told():
            figure, whole = draw(style), BytesIO()
            figure.savefig(whole, format="png", dpi=dpi)
    finally:
        messages.use(spoken)
    return whole.getvalue()


def figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, not known to any window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def logarithmic(axes: Any) -> None:
    """A logarithmic axis upwards, its numbers as plain text."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if high < 20 * low else NullFormatter())


def whole_steps(axes: Any) -> None:
    """Numbers across that are whole: there is no step 2.5."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def beneath(axes: Any) -> None:
    """A legend under the axes, where it covers nothing that is drawn."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))


def note(axes: Any, words: str) -> None:
    """Words in the middle of axes that have nothing else to show."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", transform=axes.transAxes, wrap=True)


def sampled(count: int, most: int) -> list[int]:
    """Which of so many steps or units are drawn: all, or every n-th."""
    return list(range(0, count, max(1, math.ceil(count / most))))


def name_steps(axes: Any, steps: Sequence[int], tokens: Sequence[str], *, each: bool) -> None:
    """Name the steps under axes whose places are 0 … len(steps)-1.

    Args:
        axes: where.
        steps: which step, from 0, each place is.
        tokens: what stands at each step; empty where nothing is known.
        each: whether tokens, where they fit, are written under every place.
    """
    words = [tokens[t] if t < len(tokens) else "" for t in steps]
    if each and any(words) and len(steps) <= 40:
        shown = [w[:14].replace("\n", "↵").strip() or "␣" if w else "" for w in words]
        axes.set_xticks(range(len(steps)), shown)
        inches = axes.get_position().width * axes.figure.get_size_inches()[0]
        room = inches / 0.1 / len(steps)  # letters that a name has for itself
        labels = axes.get_xticklabels()
        wide = [label for label in labels if columns(label.get_text()) > room]
        for label in labels if 4 * len(wide) > len(labels) else wide:
            label.set_rotation(90)
        axes.set_xlabel(tr("step"))
        return
    places = sampled(len(steps), 10)
    axes.set_xticks(places, [str(steps[p] + 1) for p in places])
    axes.set_xlabel(tr("step"))
