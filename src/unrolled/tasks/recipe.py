"""A preset, a file, assignments and flags come in; the one resolved recipe of a run goes out.

Later wins: the preset, then --config FILE.toml, then --set and flags, which must not contradict.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.errors import DataError, UsageError
from unrolled.optimise import Settings
from unrolled.tasks import find, presets
from unrolled.tasks.kinds import KINDS

SECTIONS = ("model", "data", "training")
# a number or a table; a name or a list; a number or "one-hot"
_SEVERAL_KINDS = ("zoneout", "class_weights", "embedding")


@dataclass(frozen=True)
class Recipe:
    """All options of a run.

    Args:
        task: its name.
        preset: whose values were the start.
        model: keywords of the task's `for_dataset`, the seed aside.
        data: keywords of what reads the data, the seed aside.
        training: fields of `Settings`.
    """

    task: str
    preset: str
    model: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]

    @classmethod
    def default(cls, task: str = "classify") -> "Recipe":
        """Every option without a word."""
        return _sorted(task, "", {})

    def settings(self) -> Settings:
        """The training section, checked."""
        return Settings(**self.training)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; `from_json` is the way back."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, table: Any) -> "Recipe":
        """The recipe that a model directory holds.

        Raises:
            UsageError: a section or key is unknown, or has a value it cannot have.
        """
        wanted = {"task", "preset", *SECTIONS}
        if not isinstance(table, dict) or set(table) != wanted or table["task"] not in KINDS:
            raise UsageError("the recipe in config.json", expected=", ".join(sorted(wanted)))
        task = table["task"]
        flat = _flat({name: table[name] for name in SECTIONS}, "config.json", task)
        return _sorted(task, str(table["preset"]), flat)


def resolve(
    dataset: str,
    *,
    task: str | None = None,
    preset: str | None = None,
    config: str | Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> Recipe:
    """All options of a run on `dataset`.

    Args:
        dataset: its name, or a path; decides the preset if none is named.
        task: its name; None is the preset's.
        preset: a name in `presets.names()`.
        config: a TOML file with the sections of a preset.
        assignments: "key=value" each, the value as in TOML, or a bare word.
        flags: key → value; None where a flag was not given.

    Raises:
        UsageError: a key is unknown, given twice, or has a value it cannot have.
        DataError: the file cannot be read.

    Example:
        >>> recipe = resolve("mnist", preset="notebook", assignments=["lr=0.02"])
        >>> recipe.training["lr"], recipe.model["hidden"], recipe.data["valid"]
        (0.02, 128, 0)
    """
    given_text = (flags or {}).get("text") or dataset.removesuffix(".gz").endswith(".jsonl")
    if task is not None:
        find(task)
    name = preset or presets.default_for(dataset, task, texts=bool(given_text))
    table = presets.read(name)
    own = table.get("task", "classify")
    if task not in (None, own):
        raise UsageError(f"the preset {name}", expected=f"the task {own}", got=task)
    flat = _flat({key: table.get(key, {}) for key in SECTIONS}, f"preset {name}", own)
    if config is not None:
        flat |= _flat(_read(Path(config)), str(config), own)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for text in assignments:
        key, value = _assignment(text)
        if key in given:
            raise UsageError(f"--set {text}", expected="each option once", got=f"{key} twice")
        given[key] = value
    return _sorted(own, name, flat | _checked(given, "--set", own))


def build(source: str, recipe: Recipe, *, data_dir: str | None = None) -> tuple[Any, Any]:
    """The task with its first weights, and the data, that `recipe` describes.

    Raises:
        UnrolledError: the data or an option is not as it should be.

    Example:
        >>> task, digits = build("digits", resolve("digits"))
        >>> len(digits.test)
        359
    """
    seed = recipe.training["seed"]
    dataset = KINDS[recipe.task].load(source, recipe.data, seed=seed, data_dir=data_dir)
    return find(recipe.task).for_dataset(dataset, seed=seed, **recipe.model), dataset


def reload(
    source: str, recipe: Recipe, task: Any, *, data_dir: str | None = None, **changes: Any
) -> Any:
    """The data of a trained `task` again, prepared and labelled as in its training.

    Raises:
        UnrolledError: the data is not there, or is not what the task was trained on.
    """
    kind = KINDS[task.name]
    known = {name: value for name, value in changes.items() if name in kind.data}
    options = kind.again(task, {**recipe.data, **known})
    return kind.load(source, options, seed=recipe.training["seed"], data_dir=data_dir)


def _sorted(task: str, preset: str, flat: Mapping[str, Any]) -> Recipe:
    model, data, training = (
        {key: flat.get(key, default) for key, default in section.items()}
        for section in KINDS[task].sections.values()
    )
    recipe = Recipe(task, preset, model, data, training)
    recipe.settings()
    return recipe


def _flat(table: Mapping[str, Any], source: str, task: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    known = KINDS[task].sections
    for section, values in table.items():
        if section not in SECTIONS:
            raise UsageError(
                f"{source}: [{section}]", expected=", ".join(f"[{s}]" for s in SECTIONS)
            )
        if not isinstance(values, Mapping):
            raise UsageError(f"{source}: {section}", expected="a section", got=repr(values))
        for key, value in values.items():
            if key not in known[section]:
                raise _unknown(key, known[section], f"{source}: [{section}]")
            flat[key] = value
    return _checked(flat, source, task)


def _checked(given: Mapping[str, Any], source: str, task: str) -> dict[str, Any]:
    """Values of known keys and of the kind that the default has; whole numbers become numbers."""
    known = {
        key: value for section in KINDS[task].sections.values() for key, value in section.items()
    }
    checked = {}
    for key, value in given.items():
        if key not in known:
            raise _unknown(key, known, source)
        kind = type(known[key])
        if kind is float and type(value) is int:
            value = float(value)
        if known[key] is not None and key not in _SEVERAL_KINDS and type(value) is not kind:
            words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
            raise UsageError(key, expected=words[kind], got=repr(value))
        checked[key] = value
    return checked


def _assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"--set {text}", expected="key=value", got=repr(text))
    return key, parsed(value)


def parsed(text: str) -> Any:
    """A value as in TOML, or the text itself where it is none.

    Example:
        >>> parsed("0.1"), parsed("true"), parsed("lstm"), parsed("[1, 2]")
        (0.1, True, 'lstm', [1, 2])
    """
    try:
        table = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text.strip()
    return table["value"] if set(table) == {"value"} else text.strip()


def read_sections(path: str | Path) -> dict[str, dict[str, Any]]:
    """The sections of a file of `--config`, unchecked.

    Raises:
        DataError: it cannot be read, or is not in TOML.
    """
    table = _read(Path(path))
    return {name: values for name, values in table.items() if isinstance(values, dict)}


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise DataError(f"{path} cannot be read", got=error.strerror) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(str(path), expected="a file in TOML", got=error) from None


def _unknown(key: str, known: Mapping[str, Any], source: str) -> UsageError:
    near = difflib.get_close_matches(key, known, n=1)
    return UsageError(
        f"{source}: no option is called {key!r}",
        expected="one of " + ", ".join(sorted(known)),
        fix=f"Did you mean {near[0]!r}?" if near else "",
    )
