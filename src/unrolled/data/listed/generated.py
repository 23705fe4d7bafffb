"""The examples that are drawn anew from a seed: facts alone, no code of theirs.

Who looks a name up comes through `catalogue`; what is drawn, and after whom, goes out.
"""

from __future__ import annotations

from ..facts import Named

ENTRIES = (
    *(
        Named(
            name,
            about,
            labels,
            (10000, 2000),
            1000,
            {},
            (),
            (),
            "none: drawn anew from the seed",
            paper,
            form="generated",
            carrier="unrolled",
        )
        for name, about, labels, paper in (
            (
                "adding",
                "a test of memory: two marked numbers of 100, their sum at the end",
                ("sum",),
                "Hochreiter, Schmidhuber. Long short-term memory. 1997.",
            ),
            (
                "copy",
                "a test of memory: ten symbols, to be said again after 30 blanks",
                (),
                "Hochreiter, Schmidhuber. Long short-term memory. 1997.",
            ),
            (
                "parity",
                "a test of memory: whether the number of ones among 32 is odd",
                ("even", "odd"),
                "Minsky, Papert. Perceptrons. 1969.",
            ),
        )
    ),
)
