"""`unrolled eval`, `predict`, `import`: a trained model comes in, or a checkpoint of PyTorch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.cli.asked import Asked, Measured
from unrolled.cli.outputs import file_to_write
from unrolled.errors import UsageError

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model directory.")]
Backend = Annotated[str, typer.Option(help="auto, torch, c or reference.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[str, typer.Option(help="The best weights, or the last.")]


def eval(
    model: Model,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Labelled data; default: the test part of its own."),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="The folder with the dataset's files."),
    ] = None,
    part: Annotated[
        str | None, typer.Option(help="test, valid or train; default: test, or all of a file.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="The column of the answers.")] = None,
    text: Annotated[str | None, typer.Option(help="The column of texts.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a text file.")] = None,
    other: Annotated[
        str | None, typer.Option(metavar="FILE", help="The translations of DATA's lines.")
    ] = None,
    captions: Annotated[
        str | None, typer.Option(metavar="FILE", help="The captions of DATA's images.")
    ] = None,
    adapt: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Let a language model learn from what it has read."),
    ] = None,
    which: Which = "best",
    backend: Backend = "auto",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a trained model on its test data, or yours."""
    from unrolled import checkpoint, tasks
    from unrolled.cli.fronts import FRONTS, front_of
    from unrolled.tasks.recipe import Recipe, reload

    task = tasks.load(model, which=which, device=device, backend=backend)
    front = front_of(task)
    if adapt is not None and not front.adapts:
        raise UsageError("--adapt", expected="a language model", got=task.describe())
    stored = checkpoint.read(model).config["run"].get("recipe") or {}
    # who names the other side again means that file as it is, not the parts it was cut into
    own = source is None or (source == stored.get("source") and not (other or captions))
    source = source or stored.get("source")
    if source is None:
        raise UsageError("DATA", expected="labelled data", got="none, and the model names none")
    known = isinstance(stored.get("options"), dict)
    recipe = Recipe.from_json(stored["options"]) if known else Recipe.default()
    changes: dict[str, Any] = {"label": label, "text": text, "encoding": encoding}
    changes = {name: value for name, value in changes.items() if value is not None}
    if not own and part is None:
        # a file is all measured on; a dataset by name, or a folder, may have a test part
        changes |= {"valid": 0, "by": None, "group": None}
        changes |= {"test": 0} if Path(source).expanduser().is_file() else {}
    for name, given in {"other": other, "captions": captions}.items():
        if front.beside == name and not own:
            changes[name] = given
        elif given is not None:
            (of,) = (kind for kind, one in FRONTS.items() if one.beside == name)
            raise UsageError(
                f"--{name}", expected=f"data of one's own and a model of {of}", got=given
            )
    dataset = reload(
        source, recipe, task, data_dir=data_dir or (stored.get("data_dir") if own else None),
        **changes,
    )  # fmt: skip
    if part not in (None, "test", "valid", "train"):
        raise UsageError("part", expected="test, valid or train", got=repr(part))
    chosen = part or ("test" if own or len(dataset.test) else "train")
    split = getattr(dataset, chosen)
    if not len(split):
        raise UsageError(
            f"the {chosen} part of {source}", expected="at least 1 example", got="none"
        )
    front.measure(task, Measured(chosen, split, as_json, adapt))


def predict(
    model: Model,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="An image, a folder, a table, .npy or .npz; for a model of texts a text, or -.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE.csv", help="Write a table: your columns, then the answers."),
    ] = None,
    all_classes: Annotated[
        bool, typer.Option("--all", help="The probability of every class.")
    ] = False,
    features: Annotated[str | None, typer.Option(help="The columns to read: a,b,c.")] = None,
    text: Annotated[str | None, typer.Option(help="The column of texts.")] = None,
    label: Annotated[str | None, typer.Option(help="A column to pass over.")] = None,
    id: Annotated[str | None, typer.Option(help="The column that names an example.")] = None,
    time: Annotated[str | None, typer.Option(help="The column of times.")] = None,
    encoding: Annotated[str, typer.Option(help="Of a text file.")] = "utf-8",
    resize: Annotated[bool, typer.Option("--resize", help="Bring images to the size.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Exchange black and white.")] = False,
    prompt: Annotated[
        str | None, typer.Option(help="The text to write on from, or to answer.")
    ] = None,
    length: Annotated[int, typer.Option(help="Tokens to write at the most.")] = 500,
    stop: Annotated[str | None, typer.Option(help="The text that ends it.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw of the k likeliest tokens; 0 of all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw of the likeliest tokens that sum up to p.")
    ] = 1.0,
    beams: Annotated[
        int | None, typer.Option(help="Hypotheses kept in a search; 1 is greedy.")
    ] = None,
    best: Annotated[int, typer.Option(help="How many things to say of each input.")] = 1,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw what is said instead of searching.")
    ] = False,
    attention: Annotated[
        str | None, typer.Option(metavar="FILE.png", help="Draw what was looked at.")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Go on from the state in it, and keep the new one."),
    ] = None,
    interactive: Annotated[
        bool,
        typer.Option("--interactive", help="Answer each text that is typed, or write on from it."),
    ] = False,
    which: Which = "best",
    backend: Backend = "auto",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Let a trained model answer for new data, with the probability of each answer.

    A language model writes on from a prompt; a translator reads a sentence a line;
    a captioner says what images show.
    """
    from unrolled import tasks
    from unrolled.cli.fronts import front_of

    file_to_write("--out", out)
    file_to_write("--attention", attention, ".png")
    file_to_write("--state", state)
    task = tasks.load(model, which=which, device=device, backend=backend)
    front = front_of(task)
    if prompt is not None:
        if source is not None:
            raise UsageError("INPUT", expected="a file or --prompt", got="both")
        if not task.reads_texts:
            raise UsageError("--prompt", expected="a model that reads texts", got=task.describe())
        if not front.reads_blanks and not prompt.strip():
            raise UsageError("--prompt", expected="some text", got="nothing")
    asked = Asked(
        source=source,
        prompt=prompt,
        interactive=interactive,
        encoding=encoding,
        out=out,
        as_json=as_json,
        every=all_classes,
        reading={
            "features": features,
            "label": label,
            "id": id,
            "time": time,
            "text": text,
            "resize": resize,
            "invert": invert,
        },
        length=length,
        stop=stop,
        seed=seed,
        taste={"temperature": temperature, "top_k": top_k, "top_p": top_p},
        beams=beams,
        best=best,
        sample=sample,
        attention=attention,
        state=state,
    )
    front.answer(task, asked)


def import_(
    source: Annotated[
        str, typer.Argument(metavar="CKPT", help="A state dict: torch.save's, or safetensors.")
    ],
    out: Annotated[str, typer.Option(metavar="DIR", help="The model directory to write.")],
    like: Annotated[
        str | None,
        typer.Option("--for", metavar="DATA", help="The data whose preparation and labels it has."),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option("--data", metavar="DIR", help="The folder with the dataset's files."),
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Names of the outputs: a,b,c.")] = None,
    cell: Annotated[str | None, typer.Option(help="rnn-relu, for an nn.RNN with relu.")] = None,
    kind: Annotated[str, typer.Option(help="single, multi or regression.")] = "single",
    pooling: Annotated[
        str, typer.Option(help="Sum up time: last, step, mean, max; step is output[:, -1].")
    ] = "step",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Give up a model that is in the directory.")
    ] = False,
) -> None:
    """Turn a PyTorch checkpoint into a model directory: an nn.LSTM, GRU or RNN and a linear head.

    Only weights are loaded; nothing in the file is run.
    """
    from unrolled import checkpoint
    from unrolled.tasks import imported
    from unrolled.tasks.recipe import build, resolve

    found = imported.recognise(imported.read_state_dict(source), source, cell)
    preparation, names, run = None, labels.split(",") if labels else None, {}
    if like is not None:
        recipe = resolve(like, flags={"hidden": 1, "layers": 1, "bidirectional": False})
        network, _ = build(like, recipe, data_dir=data_dir)
        preparation, names = network.preparation, names or network.labels
        run = {"source": like, "data_dir": data_dir, "options": recipe.to_json()}
    task = imported.task_of(
        found, preparation=preparation, labels=names, kind=kind, pooling=pooling
    )
    target = Path(out).expanduser()
    if (target / checkpoint.CONFIG).exists() and not overwrite:
        raise UsageError(
            f"{target} holds a model", expected="a new directory", fix="Or give it up: --overwrite"
        )
    checkpoint.save(target, task, run={"imported": source, "recipe": run or None})
    typer.echo(task.describe())
    typer.echo(target)
