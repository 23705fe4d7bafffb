"""A trained task comes in; what the command line does with it in ways of its own goes out.

A new task has a line in `FRONTS`, and its ways stand in a file of their own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from unrolled.cli import classes, reading, said, sample, tags
from unrolled.cli.asked import Asked, Looked, Measured


class Front(NamedTuple):
    """A task as the command line meets it.

    Args:
        measure: says the figures of a part of data.
        answer: answers for new data.
        read: the examples of a source that is to be looked at.
        take: the first examples of a part of data, from the task, the part, its name, how many,
            and how many tokens of a text.
        beside: the keyword of the file that holds the other side of data of one's own.
        reads_blanks: whether a text of blanks is one.
        adapts: whether it can learn while it reads.
    """

    measure: Callable[[Any, Measured], None]
    answer: Callable[[Any, Asked], None]
    read: Callable[[Any, Looked], reading.Examples]
    take: Callable[[Any, Any, str, int, int], reading.Examples] = reading.first_examples
    beside: str = ""
    reads_blanks: bool = False
    adapts: bool = False


FRONTS = {
    "classify": Front(classes.measured, classes.answered, reading.examples),
    "language": Front(
        sample.measured,
        sample.answered,
        reading.passage,
        reading.first_tokens,
        reads_blanks=True,
        adapts=True,
    ),
    "tag": Front(classes.measured, tags.answered, reading.tagged, reading.first_sentences),
    "translate": Front(said.measured, said.answered, reading.sentences, beside="other"),
    "caption": Front(said.measured, said.described, reading.pictures, beside="captions"),
}


def front_of(task: Any) -> Front:
    """The front of a trained task."""
    return FRONTS[task.name]
