"""A name of a cell's comes in; what it is called in English and in Korean goes out."""

from ..engine.traced import Traced
from ..messages import language


def of(traced: Traced, name: str) -> tuple[str, str]:
    """The words of a gate, a state, an observed value, a pre-activation or a gradient.

    Args:
        traced: the cell, which brings the words.
        name: `f`, `pre_f` (what its function is of), `d_c` (∂L/∂c).

    Example:
        >>> from unrolled.cells import find
        >>> of(find("lstm").trace(), "pre_f")
        ('forget gate, before its function', '망각 게이트, 함수를 거치기 전')
    """
    known = name in traced.labels or name in traced.graph.outputs
    if not known and name.startswith("pre_"):
        english, korean = of(traced, name.removeprefix("pre_"))
        return f"{english}, before its function", f"{korean}, 함수를 거치기 전"
    if not known and name.startswith("d_"):
        english, korean = of(traced, name.removeprefix("d_"))
        return f"gradient of the loss by the {english}", f"{korean}에 대한 손실의 기울기"
    english, korean = traced.labels.get(name, (name, name))
    return english, korean


def said(traced: Traced, name: str) -> str:
    """The words in the language in use.

    Example:
        >>> from unrolled.cells import find
        >>> said(find("gru").trace(), "z")
        'update gate'
    """
    return of(traced, name)[language() == "ko"]
