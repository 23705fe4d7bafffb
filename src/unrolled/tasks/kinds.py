"""The table of tasks: what a recipe may say of each, and what reads its data, first and again.

A new task is a class in a file of its own, its name in `tasks.TASKS`, its options in `options`, a
line here, and one in `cli/fronts.py` for the command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.data import load, load_text
from unrolled.data.captions import load_captions
from unrolled.data.lines import load_lines
from unrolled.data.parallel import load_parallel
from unrolled.data.tagged import load_tagged
from unrolled.tasks import options

Table = Mapping[str, Any]


def _again(task: Any, found: dict[str, Any]) -> dict[str, Any]:
    return found


@dataclass(frozen=True)
class Kind:
    """What a recipe has to know of a task.

    Args:
        model: keywords of the task's `for_dataset`, with the values without a word.
        data: those of `read`.
        read: from a name or path, `data_dir` and these keywords to the data; with `seed` where
            parts are drawn.
        training: what a recipe says of training.
        again: from a trained task and the keywords of its data to those that read data as in its
            training.
        seeded: whether `read` takes a seed.
    """

    model: Table
    data: Table
    read: Callable[..., Any]
    training: Table
    again: Callable[[Any, dict[str, Any]], dict[str, Any]] = _again
    seeded: bool = True

    @property
    def sections(self) -> dict[str, Table]:
        """As a recipe has them."""
        return {"model": self.model, "data": self.data, "training": self.training}

    def load(self, source: str, found: Table, *, seed: int, data_dir: str | None) -> Any:
        """The data that keywords describe.

        Raises:
            UnrolledError: it is missing, or not as it should be.
        """
        more = {"seed": seed} if self.seeded else {}
        given = dict(found)
        if given.get("size") is not None:
            given["size"] = tuple(given["size"])
        return self.read(source, data_dir=data_dir, **more, **given)


def _examples_again(task: Any, found: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in found.items() if name not in ("scale", "read")}
    as_learnt = {"kind": task.kind, "preparation": task.preparation, "labels": task.labels}
    return {**kept, **as_learnt}


def _text_again(task: Any, found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "tokenizer": task.tokenizer}


def _tagged_again(task: Any, found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "also": None}  # nothing is measured by them


KINDS = {
    "classify": Kind(
        options.CLASSIFYING, options.EXAMPLES, load, options.TRAINING, _examples_again
    ),
    "language": Kind(
        options.LANGUAGE, options.TEXT, load_text, options.TRAINING, _text_again, seeded=False
    ),
    "tag": Kind(options.TAGGING, options.SENTENCES, load_tagged, options.TRAINING, _tagged_again),
    "embed": Kind(options.VECTORS, options.LINES, load_lines, options.PASSES, seeded=False),
    "translate": Kind(options.TRANSLATION, options.PARALLEL, load_parallel, options.TRAINING),
    "caption": Kind(options.CAPTIONING, options.PICTURES, load_captions, options.TRAINING),
}
