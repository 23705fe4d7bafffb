"""Tasks by name, and model directories turned back into them."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled import checkpoint
from unrolled.errors import CellError, ModelError, UnrolledError, UsageError

# name: module and class; a task is imported when it is asked for
TASKS = {
    "embed": ("unrolled.tasks.embed", "Embed"),
    "classify": ("unrolled.tasks.classify", "Classify"),
    "language": ("unrolled.tasks.language", "Language"),
    "tag": ("unrolled.tasks.tag", "Tag"),
    "translate": ("unrolled.tasks.translate", "Translate"),
    "caption": ("unrolled.tasks.caption", "Caption"),
}


def find(name: str) -> Any:
    """The class of the task called `name`.

    Raises:
        UsageError: there is none.

    Example:
        >>> find("classify").__name__
        'Classify'
    """
    if name not in TASKS:
        raise UsageError("task", expected="one of " + ", ".join(TASKS), got=repr(name))
    module, attribute = TASKS[name]
    return getattr(importlib.import_module(module), attribute)


def load(
    directory: str | Path, *, which: str = "best", device: str = "cpu", backend: str = "auto"
) -> Any:
    """The task in a model directory, ready to predict; nothing in the directory is executed.

    Args:
        directory: what `unrolled train` or `save` has written.
        which: "best" weights, or those of the "last" checkpoint.
        device: where the model goes: "auto", "cpu", "cuda", …
        backend: of the recurrent layers.

    Raises:
        ModelError: naming the file that is missing, broken, hostile, or from another version.

    Example:
        >>> digits = load("runs/digits")  # doctest: +SKIP
        >>> digits.predict(images)  # doctest: +SKIP
    """
    if which not in ("best", "last"):
        raise UsageError("which", expected="'best' or 'last'", got=repr(which))
    from unrolled.engine import backends

    backends.known(backend)  # a wrong name is no fault of the model
    saved = checkpoint.read(directory)
    config = {key: value for key, value in saved.config["task"].items() if key != "name"}
    name = saved.config["task"]["name"]
    if saved.tokenizer is not None:
        config["tokenizer"] = saved.tokenizer
    elif name in ("language", "tag", "translate") and "tokenizer" not in config:
        raise ModelError(
            f"{saved.directory / checkpoint.TOKENIZER} is missing",
            fix="Restore it from where the model was made.",
        )
    if name not in TASKS:
        raise ModelError(
            f"{saved.directory / checkpoint.CONFIG} names a task that is not known",
            expected=", ".join(TASKS),
            got=repr(name[:40]),
        )
    if name == "embed":
        raise ModelError(
            f"{saved.directory} holds word vectors",
            expected="a network that answers",
            got="vectors",
            fix="Ask them with: unrolled words near - or read them with "
            "unrolled.text.read_vectors.",
        )
    from unrolled.optimise import choose_device

    kind, target = find(name), choose_device(device)
    try:
        # Shapes first, on a device without memory: a hostile size never allocates anything.
        wanted = shapes(kind, config, saved.labels)
        weights = checkpoint.read_weights(saved.directory, wanted, which)
        task = kind.from_config(config, saved.labels, backend=backend)
    except (ModelError, UsageError, CellError) as error:
        if str(saved.directory) in error.what or "backend" in error.what:
            raise
        raise _unusable(saved.directory, error) from None
    except UnrolledError as error:
        raise _unusable(saved.directory, error) from None
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise _unusable(saved.directory, error) from None
    task.model.load_state_dict(weights)
    task.model.to(target).eval()
    return task


def shapes(kind: Any, config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Names, shapes and dtypes of the weights that a task's `config` implies; takes no memory.

    Raises:
        ModelError: it asks for more layers than a network has.
    """
    import torch

    for name in ("recurrent", "upper", "encoder"):
        part = config.get(name, {})
        layers = part.get("num_layers", 1) if isinstance(part, Mapping) else 1
        if type(layers) is not int or not 0 < layers <= 1000:
            raise ModelError("num_layers", expected="a whole number from 1 to 1000", got=layers)
    with torch.device("meta"):
        return kind.from_config(config, labels).model.state_dict()


def _unusable(directory: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{directory / checkpoint.CONFIG} describes no model that can be built",
        got=" ".join(f"{type(error).__name__}: {error}".split())[:300],
        fix="Restore it from where it was made.",
    )


save = checkpoint.save
