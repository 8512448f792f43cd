"""`ravine`: the commands, and how a mistake ends.

A command's file is loaded when the command runs, and what trains by the command that trains: help,
tables and mistakes load neither torch nor plots.
"""

import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import typer
from typer.core import TyperGroup

from ravine.cli.error_line import error_lines
from ravine.cli.outside_errors import line_about
from ravine.cli.short_help import Command
from ravine.core.errors import CodeRefusedError, PickleRefusedError, RavineError, SettingError
from ravine.core.launch import exit_process, is_distributed, is_secondary_process
from ravine.core.lazy import loaded_for_good, named_object
from ravine.training.stop import Interrupted


@final
@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command as `ravine --help` shows it; its file in cli/ and its function have its name.

    Attributes:
        panel: the group that it stands in.
        summary: the first line of its help.
    """

    panel: str
    summary: str


COMMANDS: Mapping[str, CommandRow] = {
    "train": CommandRow("Train", "Train a classifier on labelled images."),
    "resume": CommandRow("Train", "Go on with a run that was stopped or killed."),
    "check": CommandRow(
        "Look",
        "Check data, network, loss and learning rate before training, and the variance by layer.",
    ),
    "data": CommandRow(
        "Look",
        "Show what is understood of labelled images, and audit them, without training.",
    ),
    "diagnose": CommandRow(
        "Look",
        "Find what is wrong with a run, since which step, why, and whether the cure works.",
    ),
    "landscape": CommandRow(
        "Look", "Draw the loss surface around a trained network, with its trajectory."
    ),
    "report": CommandRow(
        "Look",
        "Write the report of a run, finished or not: one HTML page that opens offline.",
    ),
    "watch": CommandRow(
        "Look", "Show runs while they happen: a page in the browser, or in the terminal."
    ),
    "runs": CommandRow(
        "Look",
        "List the runs and races of a folder: state, accuracy, speed, time left, findings.",
    ),
    "evaluate": CommandRow("Use", "Measure a trained network on labelled images."),
    "predict": CommandRow("Use", "Predict the classes of images into a CSV."),
    "export": CommandRow(
        "Use", "Write a trained network as ONNX or another format, and prove that it is right."
    ),
    "push": CommandRow(
        "Use", "Upload a trained network with a model card to the Hugging Face hub."
    ),
    "race": CommandRow(
        "Compare",
        "Race optimizers, or any setting, on your own images, or on a test function.",
    ),
    "compare": CommandRow(
        "Compare",
        "Say what differs between two runs: recipe, and result with an interval.",
    ),
    "models": CommandRow(
        "Compare",
        "Name the networks, or show one layer by layer; of a run, also how fast it answers here.",
    ),
    "bench": CommandRow(
        "Compare",
        "Measure how fast this machine trains a network: plain loop, best flags, Ravine.",
    ),
}


class Commands(TyperGroup):
    """The commands by name; the file of a command is loaded when it is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns the name, the command with its options, and the arguments that are left."""
        name, row, rest = super().resolve_command(ctx, args)
        return name, row if name is None else load_command(name), rest

    def get_params(self, ctx: Any) -> Any:
        """Returns the options, `--help` among them; flags name no value."""
        return without_metavars(super().get_params(ctx))


def _loaded(name: str) -> Any:
    """Returns the function of a command."""
    return getattr(loaded_for_good(f"ravine.cli.{name}"), name)


def load_command(name: str) -> Any:
    """Returns the command of this name with its options."""
    own = typer.Typer(
        rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False
    )
    function = _loaded(name)
    own.command(name, cls=Command)(function)
    command: Any = typer.main.get_command(own)
    command.groups = getattr(function, "groups", {})
    without_metavars(command.params)
    return command


def without_metavars(options: Any) -> Any:
    """Returns the options; those that are flags take no value, where typer would name one."""
    for option in options:
        if getattr(option, "is_flag", False) and option.metavar is None:
            option.metavar = " "
    return options


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _row() -> None:
    """Stands for a command in the list of commands; `load_command` gives what runs."""


for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary, rich_help_panel=_command.panel)(_row)


def _print_version(asked: bool) -> None:
    if asked:
        # Reading the package's metadata takes a twentieth of a command's start.
        print(f"ravine {named_object('ravine.core.version:__version__')}")
        raise typer.Exit


@app.callback()
def ravine(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Trains convolutional image classifiers fast, and shows why a run goes right or wrong.

    Try it on the sample that ships with Ravine (a minute and a half):

    - `ravine train @fashion --budget 90s`

    - `ravine train photos/`, where `photos/` has one folder of images for each class

    - `ravine COMMAND --help` has examples of each command.
    """


def main() -> None:
    """Runs a command. A user's mistake is one line and exit code 2; a bug shows its traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a file name that is no UTF-8
    warnings.formatwarning = _warning_line
    try:
        _refuse_empty_arguments(sys.argv[1:])
        app()
    except CodeRefusedError as error:
        _print_mistake(f"{error.told}; if you trust it: {_allowing(error.name)}")
        exit_process(2)
    except PickleRefusedError as error:
        _print_mistake(error.told)
        print(*error.lines, sep="\n", file=sys.stderr)
        exit_process(2)
    except RavineError as error:
        _print_mistake(str(error))
        exit_process(2)
    except Interrupted as stopped:
        if not is_secondary_process():
            _print_mistake(f"{stopped}; go on with: ravine resume {stopped.path}")
        exit_process(128 + stopped.signal_number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_process(1)
    except SystemExit as end:
        exit_process(end.code)
    except Exception as error:
        if (line := line_about(error)) is not None:
            _print_mistake(line)
            exit_process(2)
        if not is_distributed():
            raise
        traceback.print_exc()  # before the other processes end
        exit_process(1)


def _warning_line(message: Warning | str, *_: object, **__: object) -> str:
    """Returns a warning as the commands print theirs: a line of the source tells a user nothing."""
    return f"warning: {' '.join(str(message).split())}\n"


def _print_mistake(text: str) -> None:
    for line in error_lines(text):
        print(line, file=sys.stderr)


def _refuse_empty_arguments(words: list[str]) -> None:
    """Raises `SettingError` for an argument without a character, as of a variable not set."""
    for before, word in zip(["", *words], words, strict=False):
        empty = before if not word.strip() else word.removesuffix("=") if _is_bare(word) else None
        if empty is not None:
            after = f" after {empty}" if empty.startswith("-") else ""
            raise SettingError(f"an empty argument{after}; was a variable of the shell not set?")


def _is_bare(word: str) -> bool:
    return word.startswith("--") and word.endswith("=") and word.count("=") == 1


def _allowing(name: str) -> str:
    """Returns the command that was given, with `--allow-code name` before any bare `--`."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    return shlex.join(["ravine", *given[:end], "--allow-code", name, *given[end:]])
