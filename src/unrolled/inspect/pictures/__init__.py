"""Traces come in; pictures go out, for paper, for a dark screen, and for the colour-blind.

Each picture is a function from what it shows and a `Style` to a figure of Matplotlib.
"""

from .attention import attention
from .gradients import flows, parts, truncation
from .inside import features, gates, looked_at, memory, unit, values
from .style import Style, korean_family, png
from .text import steps, surprise, text
from .topology import topology

__all__ = [
    "Style",
    "attention",
    "features",
    "flows",
    "gates",
    "korean_family",
    "looked_at",
    "memory",
    "parts",
    "png",
    "steps",
    "surprise",
    "text",
    "topology",
    "truncation",
    "unit",
    "values",
]
