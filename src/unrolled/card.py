"""A run and its measures come in; README.md (the model card) and its pictures go out."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import unrolled
from unrolled import files
from unrolled.history import plain
from unrolled.progress import backends
from unrolled.runs import Run

CLASSES_DRAWN = 40  # more rows than that cannot be read in a picture
KOREAN_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "AppleGothic",
    "UnDotum",
)


def write(
    run: Run,
    dataset: Any,
    valid: Mapping[str, Any] | None,
    test: Mapping[str, Any] | None,
    command: str,
) -> list[Path]:
    """Write the card of a finished run into its directory.

    Returns:
        The paths of the pictures; the last one says most.

    Raises:
        ModelError: the disk refuses.
    """
    assert run.directory is not None  # a run in memory has no card
    pictures = [_save(run.directory / "curve.png", curve(run.log.rows))]
    measured, part = (test, "test") if test is not None else (valid, "validation")
    if measured is not None and "confusion" in measured and len(run.task.labels) <= CLASSES_DRAWN:
        figure = confusion(measured["confusion"], run.task.labels)
        pictures.append(_save(run.directory / "confusion.png", figure))
    elif measured is not None and "pairs" in measured:
        figure = agreement(measured["pairs"], run.task.labels)
        pictures.append(_save(run.directory / "agreement.png", figure))
    text = card(run, dataset, measured, part, command, [path.name for path in pictures])
    files.write(run.directory / "README.md", text.encode())
    return pictures


def card(
    run: Run,
    dataset: Any,
    measured: Mapping[str, Any] | None,
    part: str,
    command: str,
    pictures: Sequence[str],
) -> str:
    """The model card, in Markdown."""
    task, place = run.task, run.place
    parts = {"training": dataset.train, "validation": dataset.valid, "test": dataset.test}
    sizes = ", ".join(f"{len(split)} {name}" for name, split in parts.items())
    lines = [f"# {dataset.name}: {task.describe()}", ""]
    if measured is None:
        lines += ["Not measured: there is neither a test part nor a validation part.", ""]
    else:
        lines += [f"**{task.summary(measured)}** on the {part} part.", ""]
        lines += _table(
            "measure", {name: [value] for name, value in plain(measured).items()}, [part]
        )
        if "signature" in measured:
            lines += [f"BLEU as sacreBLEU counts it: `{measured['signature']}`", ""]
        rows = measured.get("per_class") or measured.get("per_value") or {}
        columns = list(next(iter(rows.values()), {}))
        lines += _table("label", {name: list(row.values()) for name, row in rows.items()}, columns)
    lines += [line for name in pictures for line in (f"![{Path(name).stem}]({name})", "")]
    lines += ["## How it was made", ""]
    if command:
        lines += ["```sh", command, "```", ""]
    lines += [
        f"{place.step} steps in {place.epoch} epochs, {place.seconds:.0f} s on {run.device.type}, "
        f"backend {backends(task.model)}"
        + (f"; the weights are those of epoch {place.best_epoch}" if run.keeps_best else "")
        + f". Data: {sizes}. {_temperature(task, dataset)}",
        "",
        "The resolved configuration, as in config.json:",
        "",
        "```toml",
        *_toml("training", run.settings.to_json()),
        *_toml("data", {"name": dataset.name, **dataset.provenance}),
        *_toml("model", _model(task.config())),
        "```",
        "",
        "## How to use it",
        "",
        "```python",
        "from unrolled.tasks import load",
        "",
        f'model = load("{(run.directory or Path()).as_posix()}")',
        *getattr(task, "usage", ["model.predict(inputs).names"]),
        "```",
        "",
        f"Made with unrolled {unrolled.__version__}; nothing in this directory is executable.",
        "",
    ]
    return "\n".join(lines)


def curve(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A figure of the losses, and of the validation score, by epoch."""
    figure = _figure(6.4, 4.0)
    axes = figure.add_subplot()
    epochs = [row for row in rows if row["event"] == "epoch"]
    steps = [row for row in rows if row["event"] == "step"]
    if steps:
        axes.plot(
            [row["step"] for row in steps], [row["loss"] for row in steps], color="0.75", lw=1,
            label="loss of a step",
        )  # fmt: skip
    at = [row["step"] for row in epochs]
    axes.plot(at, [row["loss"] for row in epochs], "o-", color="tab:blue", label="training loss")
    judged = [row for row in epochs if "valid" in row]
    front = axes
    if judged:
        at = [row["step"] for row in judged]
        losses = [row["valid"]["loss"] for row in judged]
        axes.plot(at, losses, "o-", color="tab:orange", label="validation loss")
        name = next((n for n in ("accuracy", "micro_f1", "r2") if n in judged[0]["valid"]), None)
        if name:
            front = axes.twinx()
            values = [row["valid"][name] for row in judged]
            front.plot(at, values, "s--", color="tab:green", label=f"validation {name}")
            front.set_ylabel(name)
            front.set_ylim(top=1.02)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    # losses fall to the lower edge and scores rise to the upper: the middle is free
    lines = axes.get_lines() + (front.get_lines() if front is not axes else [])
    front.legend(handles=lines, loc="center right", frameon=False)
    return figure


def confusion(counts: np.ndarray, labels: Sequence[str]) -> Any:
    """A figure of how often each true class (row) was called what (column)."""
    size = max(4.0, 0.45 * len(labels) + 1.5)
    figure = _figure(size, size)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = _drawable(labels)
    turned = 90 if max(map(len, names), default=0) > 2 else 0
    axes.set_xticks(range(len(names)), names, rotation=turned)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = shares[row, column] > 0.5
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
            color="white" if dark else "black",
        )  # fmt: skip
    return figure


def agreement(pairs: np.ndarray, labels: Sequence[str]) -> Any:
    """A figure of predicted against true values, `pairs` being (2, N, K)."""
    figure = _figure(5.0, 5.0)
    axes = figure.add_subplot()
    low, high = float(pairs.min()), float(pairs.max())
    axes.plot([low, high], [low, high], color="0.6", lw=1)
    for k, name in enumerate(_drawable(labels)[:10]):
        axes.plot(pairs[0, :, k], pairs[1, :, k], ".", ms=4, label=name)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    axes.legend(frameon=False)
    return figure


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="tight")
    FigureCanvasAgg(figure)
    return figure


def _save(path: Path, figure: Any) -> Path:
    from matplotlib import font_manager, rc_context

    here = {font.name for font in font_manager.fontManager.ttflist}
    family = ["DejaVu Sans", *(name for name in KOREAN_FONTS if name in here)]
    for text in figure.findobj(match=lambda artist: hasattr(artist, "set_fontfamily")):
        text.set_fontfamily(family)
    png = BytesIO()
    with rc_context({"font.family": family}):
        figure.savefig(png, format="png", dpi=110)
    files.write(path, png.getvalue())
    return path


def _drawable(labels: Sequence[str]) -> list[str]:
    """Labels as a picture can show them: numbers where no font here has their letters."""
    if all(label.isascii() for label in labels):
        return [_escaped(label) for label in labels]
    from matplotlib import font_manager

    here = {font.name for font in font_manager.fontManager.ttflist}
    if not here.intersection(KOREAN_FONTS):
        return [str(place) for place in range(len(labels))]
    return [_escaped(label) for label in labels]


def _escaped(label: str) -> str:
    return label.replace("$", r"\$")[:20]


def _table(first: str, rows: Mapping[str, Sequence[float]], columns: Sequence[str]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name, values in rows.items():
        cells = " | ".join(str(v) if isinstance(v, int) else f"{v:.4f}" for v in values)
        lines.append(f"| {_plain_text(name)} | {cells} |")
    return [*lines, ""]


def _plain_text(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _temperature(task: Any, dataset: Any) -> str:
    temperature = getattr(task.model, "temperature", None)
    if temperature is None:
        return ""
    if not len(dataset.valid):
        return "Probabilities are not calibrated: there was no validation part."
    return f"Probabilities are calibrated on the validation part: temperature {temperature:.3f}."


def _model(config: Mapping[str, Any]) -> dict[str, Any]:
    """The task's configuration without what is long: the cell is its name, see config.json."""
    layers = {
        name: {**part, "cell": part["cell"].get("name", "")}
        for name, part in config.items()
        if isinstance(part, Mapping) and isinstance(part.get("cell"), Mapping)
    }
    network, search = config.get("network", {}), config.get("search", {})
    hidden = dict.fromkeys(("recurrent", "network", "tokenizer", "search"))
    return {**config, **network, **search, **layers, **layers["recurrent"]} | hidden


def _toml(section: str, values: Mapping[str, Any]) -> list[str]:
    lines = [f"[{section}]"]
    for key, value in values.items():
        if value is not None and not isinstance(value, dict):
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in tables.items():
        lines += ["", *_toml(f"{section}.{key}", value)]
    return lines if section.count(".") else [*lines, ""]
