"""What was read and what the user chose come in; a Dataset goes out: split and prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.errors import DataError, UsageError

from .answers import encode
from .dataset import Dataset, Kind, Split
from .learning import learn
from .preparation import Preparation
from .raw import Raw
from .reading import Options, Parts, read_one
from .splitting import RULES, held_out, share
from .wording import TextPreparation, learn_texts

Part = float | int | str | Path | None
_HELD_OUT = 0.1  # of a user's own examples, for validation and again for the test


@dataclass(frozen=True)
class Choices:
    """What the user chose about the parts; `load` explains each."""

    seed: int = 0
    valid: Part = None
    test: Part = None
    by: str | None = None
    kind: str | None = None
    labels: Sequence[str] | None = None

    def __post_init__(self):
        seed = self.seed
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UsageError("seed", expected="a whole number from 0 to 4294967295", got=repr(seed))
        if self.by not in (None, *RULES):
            raise UsageError("by", expected="one of " + ", ".join(RULES), got=repr(self.by))


def assemble(
    name: str,
    parts: Parts,
    choices: Choices,
    options: Options,
    learning: dict[str, Any],
    preparation: Preparation | TextPreparation | None,
) -> Dataset:
    """Number the answers, split, and learn the preparation from the training part alone.

    Args:
        name: what the user called the data.
        parts: what was read, and what stands apart.
        choices: seed, parts, rule, kind and labels.
        options: how to read a part that the user named by its path.
        learning: options of `learn`; not used where there is a preparation.
        preparation: that of a trained model, or None.

    Raises:
        DataError: answers cannot be numbered, parts are not alike, or do not fit the model.
        UsageError: the parts cannot be as large as was asked.
    """
    raw, learning = parts.train, dict(learning)
    wording = learning.pop("wording", {})
    targets, kind, labels = encode(raw, choices.kind, choices.labels)
    sums = dict(raw.sha256)

    def numbered(read: Callable[[], Raw]) -> Split:
        other = read()
        _alike(raw, other)
        sums.update(other.sha256)
        return Split(
            other.inputs, encode(other, kind, labels)[0], other.ids, other.groups, other.times
        )

    whole = Split(raw.inputs, targets, raw.ids, raw.groups, raw.times)
    apart = _apart(parts, choices, options)
    rule = choices.by or ("group" if raw.groups is not None else "seed")
    cut = _cut(whole, apart, choices, rule, kind)
    train, read_test = cut["train"], apart["test"]
    if preparation is None and raw.form == "text":
        preparation = learn_texts(train.inputs, columns=raw.columns, **wording)  # type: ignore[arg-type]  # texts
    elif preparation is None:
        preparation = learn(train.inputs, form=raw.form, layout=raw.layout, **learning)
    else:
        suits(raw, preparation)
    valid = numbered(apart["valid"]) if apart["valid"] else cut["valid"]
    stratified = " within each class" if kind == "single" and rule == "seed" else ""
    return Dataset(
        name,
        train,
        valid,
        kind,
        labels,
        preparation,
        {
            "source": raw.source,
            "sha256": sums,
            "rule": f"by {rule}{stratified}",
            "seed": choices.seed,
            "sizes": {"train": len(train), "valid": len(valid)}
            | ({} if read_test else {"test": len(cut["test"])}),
        },
        (lambda: numbered(read_test)) if read_test else (lambda: cut["test"]),
    )


def suits(raw: Raw, preparation: Preparation | TextPreparation) -> None:
    """Check that raw examples are what a preparation was learnt for.

    Raises:
        DataError: another form, size or number of channels.
    """
    got, expected = _shape(raw), preparation.shape
    if preparation.form == "series" and (expected[0] is None or preparation.layout != "rows"):
        got, expected = got[1:], expected[1:]
    if raw.form != preparation.form or got != expected:
        raise DataError(
            f"{raw.source} does not fit the model",
            expected=_said(preparation.form, preparation.shape),
            got=_said(raw.form, _shape(raw)),
            fix=_as_image(raw, preparation) or "Give data of the kind that it was trained on.",
        )


def _as_image(raw: Raw, preparation: Preparation | TextPreparation) -> str:
    """What to do with arrays of numbers that may be images by another measure; empty otherwise."""
    if preparation.form != "image" or raw.form != "series":
        return ""
    return "Arrays of images hold whole numbers from 0 to 255: save them with .astype('uint8')."


def _apart(parts: Parts, choices: Choices, options: Options) -> dict[str, Callable | None]:
    """How to read the parts that are not drawn from the examples to learn from."""
    apart: dict[str, Callable | None] = {"valid": parts.valid, "test": parts.test}
    for part, value in (("valid", choices.valid), ("test", choices.test)):
        if isinstance(value, str | Path):
            path = Path(value).expanduser()
            apart[part] = lambda path=path: read_one(path, options)
        elif value is not None:
            if value and part == "test" and parts.test is not None:
                raise UsageError(
                    "test",
                    expected="no size: this data has a test part of its own",
                    got=value,
                    fix="Leave it out, or give test=0 for none.",
                )
            apart[part] = None
    return apart


def _cut(
    whole: Split, apart: dict[str, Callable | None], choices: Choices, rule: str, kind: Kind
) -> dict[str, Split]:
    count = len(whole)
    sizes = {}
    for part, value in (("test", choices.test), ("valid", choices.valid)):
        if apart[part]:
            sizes[part] = 0
        elif isinstance(value, int | float):
            sizes[part] = share(part, value, count)
        else:
            sizes[part] = share(part, max(1, round(_HELD_OUT * count)), count)
    if sum(sizes.values()) >= count:
        raise UsageError(
            "valid and test",
            expected=f"fewer than the {count} examples in all",
            got=f"{sizes['valid']} and {sizes['test']}",
            fix="Leave some to learn from; valid=0 or test=0 holds out none.",
        )
    stratify = kind == "single"
    kept, tested = held_out(whole, sizes["test"], rule, choices.seed, stratify=stratify)
    rest = whole.take(kept) if len(tested) else whole
    first, second = held_out(rest, sizes["valid"], rule, choices.seed, stratify=stratify)
    return {
        "train": rest.take(first) if len(second) else rest,
        "valid": rest.take(second),
        "test": whole.take(tested),
    }


def _alike(one: Raw, other: Raw) -> None:
    first, second = _shape(one), _shape(other)
    same = first == second if one.form == "image" else first[1:] == second[1:]
    if one.layout == "rows":
        same = first == second
    if one.form != other.form or not same:
        raise DataError(
            f"{other.source} is not like {one.source}",
            expected=_said(one.form, first),
            got=_said(other.form, second),
            fix="Give all parts in the same form.",
        )


def _shape(raw: Raw) -> tuple[int | None, ...]:
    if isinstance(raw.inputs, np.ndarray):
        return raw.inputs.shape[1:]
    return (None,) if raw.form == "text" else (None, raw.inputs[0].shape[1])  # type: ignore[union-attr]  # arrays


def _said(form: str, shape: tuple[int | None, ...]) -> str:
    if form == "text":
        return "texts"
    what = {"image": "images", "series": "series"}[form]
    return f"{what} of " + " x ".join("any" if n is None else str(n) for n in shape)
