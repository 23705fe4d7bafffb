"""A model directory: a task comes in and becomes files; files come in and are checked.

    config.json         format, version, what rebuilds the task, the run's settings and data
    labels.json         names of the classes or values
    tokenizer.json      of a model of texts: what it reads by
    model.safetensors   weights, of the best epoch
    resume.safetensors  what training needs to go on: one file, so that it changes in one rename
    metrics.jsonl, README.md and pictures: for people

config.json and labels.json are written before the first weights and never change during a run.
"""

import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

import unrolled
from unrolled import files
from unrolled.errors import ModelError
from unrolled.tensors import TensorFile, tensor_bytes

FORMAT, VERSION = "unrolled-model", 1
CONFIG, LABELS, TOKENIZER, WEIGHTS, RESUME = (
    "config.json",
    "labels.json",
    "tokenizer.json",
    "model.safetensors",
    "resume.safetensors",
)

_FOR_PEOPLE = ("metrics.jsonl", "README.md", "curve.png", "confusion.png", "agreement.png")


class Saved(NamedTuple):
    """A model directory whose JSON has been read and checked; its weights have not."""

    directory: Path
    config: dict[str, Any]
    labels: list[str]
    tokenizer: Any = None


def save(directory: str | Path, task: Any, *, run: Mapping[str, Any] | None = None) -> Path:
    """Write `task` as a whole new model directory; one that is there is replaced in one piece.

    Args:
        directory: where; its parent is made.
        task: has `config()`, `labels` and `model`.
        run: plain JSON on how the model came about.

    Raises:
        ModelError: something else than a model stands there, or the disk refuses.

    Example:
        >>> saved = save("runs/mine", task)  # doctest: +SKIP
    """
    directory = Path(directory)
    refuse_strange(directory)
    staged = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    try:
        staged.mkdir(parents=True)
        begin(staged, task, run or {})
        write_weights(staged, task.model.state_dict())
        if directory.exists():
            os.replace(directory, old)
        os.replace(staged, directory)
        files.sync_folder(directory.parent)
    except OSError as error:
        raise ModelError(f"{directory} cannot be written", got=error.strerror or error) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return directory


def begin(directory: Path, task: Any, run: Mapping[str, Any]) -> None:
    """Write what stays the same during a run: config.json and labels.json."""
    make_folder(directory)
    files.write(directory / LABELS, files.dump_json(list(task.labels)))
    described = task.config()
    tokenizer = getattr(task, "tokenizer", None)
    if tokenizer is not None:
        described.pop("tokenizer", None)  # a vocabulary may be larger than config.json may be
        table = files.dump_json(tokenizer.to_json(), indent=None)
        files.write(directory / TOKENIZER, table)
    config = {
        "format": FORMAT,
        "version": VERSION,
        "task": described,
        "run": dict(run),
        "software": {
            "unrolled": unrolled.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    files.write(directory / CONFIG, files.dump_json(config))


def write_weights(directory: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Replace model.safetensors, in one rename."""
    files.write(directory / WEIGHTS, tensor_bytes(tensors))


def read(directory: str | Path) -> Saved:
    """Read and check config.json and labels.json; code that they name is not run, there is none.

    Raises:
        ModelError: naming the file that is missing, broken, hostile, or from another version.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ModelError(
            f"{directory} is no model directory",
            expected="a directory that `unrolled train` has written",
            got="a file" if directory.exists() else "nothing there",
            fix="Turn a PyTorch checkpoint into one with `unrolled import`."
            if directory.is_file()
            else "",
        )
    config = files.read_json(directory / CONFIG)
    place = directory / CONFIG
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise ModelError(
            str(place),
            expected=f'an object whose "format" is "{FORMAT}"',
            got=files.short(config.get("format")) if isinstance(config, dict) else "no object",
        )
    if type(config.get("version")) is not int or config["version"] != VERSION:
        raise ModelError(
            f"{place} has another version",
            expected=VERSION,
            got=files.short(config.get("version")),
            fix="Use the release of unrolled that wrote it.",
        )
    task = config.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("name"), str):
        raise ModelError(str(place), expected='a "task" with a "name"', got=files.short(task))
    labels = files.read_json(directory / LABELS, limit=16 * files.MEBI)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(str(directory / LABELS), expected="a list of texts", got="something else")
    if len(set(labels)) != len(labels):
        raise ModelError(str(directory / LABELS), expected="each label once", got="one twice")
    tokenizer = None
    if (directory / TOKENIZER).exists():
        tokenizer = files.read_json(directory / TOKENIZER, limit=256 * files.MEBI)
    return Saved(directory, config, labels, tokenizer)


def read_weights(
    directory: Path, wanted: Mapping[str, torch.Tensor], which: str = "best"
) -> dict[str, torch.Tensor]:
    """Read the weights of the best epoch, or the last ones that training has saved.

    Args:
        directory: the model's.
        wanted: names, shapes and dtypes that the configuration implies; on any device, "meta" too.
        which: "best" or "last".

    Raises:
        ModelError: naming the file, and the tensor that is not as wanted.
    """
    if which == "last":
        state = read_state(directory)
        if state is None:
            raise ModelError(f"{directory / RESUME} is missing", fix="Ask for the best weights.")
        return state.part("model", wanted)
    if not (directory / WEIGHTS).exists():
        raise ModelError(
            f"{directory / WEIGHTS} is missing",
            fix="If training was cut short before its first checkpoint, run it with --resume.",
        )
    file = TensorFile(directory / WEIGHTS)
    file.expect(wanted)
    return file.load()


class State(NamedTuple):
    """Everything training needs to go on from where it was: tensors by name, and plain facts."""

    path: Path
    tensors: dict[str, torch.Tensor]
    facts: dict[str, Any]

    def part(self, prefix: str, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The tensors `prefix.NAME`, checked against `wanted`.

        Raises:
            ModelError: one is missing or has another shape or dtype.
        """
        found = {}
        for name, tensor in wanted.items():
            value = self.tensors.get(f"{prefix}.{name}")
            if value is None or value.shape != tensor.shape or value.dtype != tensor.dtype:
                raise ModelError(
                    f"{self.path}, tensor '{prefix}.{name}'",
                    expected=f"{tuple(tensor.shape)} of {tensor.dtype}",
                    got="none" if value is None else f"{tuple(value.shape)} of {value.dtype}",
                    fix="Train again without --resume.",
                )
            found[name] = value
        return found


def write_state(
    directory: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]
) -> None:
    """Replace the state that `--resume` goes on from, in one rename."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False)
    files.write(directory / RESUME, tensor_bytes(tensors, text))


def read_state(directory: Path) -> State | None:
    """The last state written, or None if training has not come to its first.

    Raises:
        ModelError: the file is there, but broken.
    """
    path = directory / RESUME
    if not path.exists():
        return None
    file = TensorFile(path)
    facts = files.parse_json(file.facts.get("facts", "null"), f"the facts of {path}")
    if not isinstance(facts, dict):
        raise ModelError(f"the facts of {path}", expected="a JSON object", got=files.short(facts))
    return State(path, file.load(), facts)


def clear(directory: Path) -> None:
    """Forget the model and the run in `directory`, weights first: no mixture can be loaded."""
    for name in (WEIGHTS, RESUME, *_FOR_PEOPLE, TOKENIZER, LABELS, CONFIG):
        (directory / name).unlink(missing_ok=True)


def refuse_strange(directory: Path) -> None:
    """Refuse to write into a directory that holds something else than a model.

    Raises:
        ModelError: it is a file, or has contents but no config.json.
    """
    if directory.is_dir():
        names = {path.name for path in directory.iterdir()}
        seen = {name for name in names if not name.startswith(".")}
        # A run that was killed as it began has left one of the two, or a staged file alone.
        if not seen or seen & {CONFIG, LABELS}:
            return
    elif not directory.exists():
        return
    raise ModelError(
        f"{directory} is not a model directory",
        expected="a new, empty or model directory to write to",
        got="other files in it" if directory.is_dir() else "a file",
        fix="Choose another directory.",
    )


def make_folder(directory: Path) -> None:
    """Make `directory` and its parents.

    Raises:
        ModelError: the system refuses.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"{directory} cannot be made", got=error.strerror, fix="Choose another directory."
        ) from None
