"""The command `unrolled`: a line of arguments comes in, a verb of the table is loaded and run.

Nothing but the verb asked for is imported, so that `--help` and errors are instant. An error of the
user's is one line on stderr and exit code 2.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import unrolled
from unrolled import messages
from unrolled.errors import BackendWarning, FontWarning, UnrolledError, UsageError
from unrolled.messages import tr, tr_error, tr_filled

# name: (module, attribute, what --help says); in the order of a first day's work
COMMANDS = {
    "train": ("unrolled.cli.train", "train", "Train a network on a dataset or a file of yours."),
    "eval": ("unrolled.cli.train", "eval", "Measure a trained model on its test data, or yours."),
    "predict": ("unrolled.cli.train", "predict", "Let a trained model answer for new data."),
    "inspect": (
        "unrolled.cli.inspect",
        "inspect",
        "See inside a model: gates, memory, gradients through time.",
    ),
    "lab": (
        "unrolled.cli.lab",
        "app",
        "Experiments with cells: gradients, memory, compare.",
    ),
    "import": (
        "unrolled.cli.train",
        "import_",
        "Turn a PyTorch checkpoint into a model directory.",
    ),
    "cells": (
        "unrolled.cli.cells",
        "app",
        "The catalogue of cells: list, show, check, new, build.",
    ),
    "words": (
        "unrolled.cli.words",
        "app",
        "Word vectors: what lies near, analogies, figures, a map.",
    ),
    "data": ("unrolled.cli.data", "app", "Datasets by name: list, fetch, verify, show."),
    "bench": ("unrolled.cli.bench", "bench", "Time cells beside their rivals, in one run."),
    "doctor": ("unrolled.cli.doctor", "doctor", "Look at this machine: compiler, devices, fonts."),
}
# The base of what typer raises for wrong usage: its own or click's, whichever it stands on.
BadUsage: type[Exception] = typer.BadParameter.__mro__[2]
_CONTEXT = {"help_option_names": ["--help", "-h"]}


class Verbs(TyperGroup):
    """The verbs: listed from the table alone, imported when one is run."""

    def __init__(self, **settings):
        super().__init__(**settings)
        for name, (_, _, line) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=line))

    def resolve_command(self, ctx, args):
        name, command, rest = super().resolve_command(ctx, args)
        return name, (load(name) if name in COMMANDS else command), rest


def load(name: str):
    """The command behind a verb, its help in the language in use."""
    module, attribute, line = COMMANDS[name]
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_CONTEXT)
        app.command(name)(found)
        found = app
    command = typer.main.get_command(found)
    command.name = name
    command.help = command.help or line
    _dress(command)
    return command


def _dress(command) -> None:
    """Give a command and all below it the language in use, and `-h`."""
    command.context_settings = {**_CONTEXT, **command.context_settings}
    command.help = tr(command.help) if command.help else command.help
    for parameter in command.params:
        if getattr(parameter, "help", None):
            parameter.help = tr(parameter.help)
    for inner in getattr(command, "commands", {}).values():
        _dress(inner)


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=_CONTEXT,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"unrolled {unrolled.__version__}")
        raise typer.Exit


@app.callback()
def root(
    lang: Annotated[
        str | None, typer.Option(help="Speak English or Korean (en, ko); before or after the verb.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """Type a recurrent cell once, as its equations; train it, see inside it, ship it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and leave the process with its exit code.

    0 it worked; 2 the user's error, said in one line on stderr; 130 Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    if hasattr(sys.stdin, "reconfigure"):  # a terminal's language is not that of what comes in
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    warnings.showwarning = _warn
    try:
        rest = _take_language(list(sys.argv[1:] if arguments is None else arguments))
        command = typer.main.get_command(app)
        _dress(command)
        code = command.main(args=rest, prog_name="unrolled", standalone_mode=False)
        sys.stdout.flush()
    except UnrolledError as error:
        _complain(tr_error(error))
    except BadUsage as error:
        _complain(_usage(error))
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # typer takes any for a Ctrl-D: a fault of ours
            raise error.__cause__ from None
        sys.exit(130)
    except BrokenPipeError:
        _hush()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _warn(message, category, filename, lineno, file=None, line=None) -> None:
    """A warning of ours is one sentence; whose line of code it came from says nothing to a user."""
    if category in (BackendWarning, FontWarning):
        print(message, file=sys.stderr)
        return
    _SHOW(message, category, filename, lineno, file, line)


_SHOW = warnings.showwarning


def _complain(message: str) -> NoReturn:
    sys.stdout.flush()
    # the help, shown to who gave no verb, is no error's one line
    said = message if "\n" in message else tr("Error: {message}", message=message)
    print(said, file=sys.stderr)
    sys.exit(2)


def _usage(error) -> str:
    """One line for an option or argument that typer refused."""
    message = error.format_message()
    if "\n" in message or error.ctx is None:
        return message
    said = tr_filled(message)
    said = said if said[-1:] in ".?" else f"{said}."
    return f"{said} {tr('See {command} --help.', command=error.ctx.command_path)}"


def _take_language(arguments: list[str]) -> list[str]:
    """The arguments without `--lang X`, which any verb takes: it is in use before help is made."""
    rest: list[str] = []
    words = iter(arguments)
    messages.use(None)
    for word in words:
        if word == "--":
            return [*rest, word, *words]
        if word == "--lang":
            chosen = next(words, None)
            if chosen is None:
                raise UsageError("--lang", expected="en or ko", got="nothing")
            messages.use(chosen)
        elif word.startswith("--lang="):
            messages.use(word.removeprefix("--lang="))
        else:
            rest.append(word)
    return rest


def _hush() -> None:
    """The reader has gone: nothing more is said, and leaving the process does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
