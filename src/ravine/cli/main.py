"""`ravine`: the commands, and how a mistake ends."""

import io
import os
import shlex
import sys
import traceback

import typer

from ravine.cli.bench import bench
from ravine.cli.check import check
from ravine.cli.data import data
from ravine.cli.diagnose import diagnose
from ravine.cli.evaluate import evaluate
from ravine.cli.landscape import landscape
from ravine.cli.models import models
from ravine.cli.outside_errors import line_about
from ravine.cli.predict import predict
from ravine.cli.race import race
from ravine.cli.report import report
from ravine.cli.resume import resume
from ravine.cli.train import train
from ravine.core.errors import CodeRefusedError, RavineError, SettingError
from ravine.core.ranks import exit_process, is_distributed, is_secondary_process
from ravine.training.stop import Interrupted

app = typer.Typer(
    help="Trains convolutional image classifiers fast on the machine at hand, "
    "and shows why a run goes right or wrong.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(check)
app.command()(data)
app.command()(train)
app.command()(resume)
app.command()(evaluate)
app.command()(predict)
app.command()(diagnose)
app.command()(landscape)
app.command()(race)
app.command()(bench)
app.command()(models)
app.command()(report)


def main() -> None:
    """Runs a command. A user's mistake is one line and exit code 2; a bug shows its traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of a file name that is no UTF-8
    try:
        _refuse_empty_arguments(sys.argv[1:])
        app()
    except CodeRefusedError as error:
        print(f"ravine: {error.told}; if you trust it: {_allowing(error.name)}", file=sys.stderr)
        exit_process(2)
    except RavineError as error:
        print(f"ravine: {' '.join(str(error).split())}", file=sys.stderr)
        exit_process(2)
    except Interrupted as stopped:
        if not is_secondary_process():
            print(f"ravine: {stopped}; go on with: ravine resume {stopped.path}", file=sys.stderr)
        exit_process(128 + stopped.signal_number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_process(1)
    except SystemExit as end:
        exit_process(end.code)
    except Exception as error:
        if (line := line_about(error)) is not None:
            print(f"ravine: {' '.join(line.split())}", file=sys.stderr)
            exit_process(2)
        if not is_distributed():
            raise
        traceback.print_exc()  # before the other processes end
        exit_process(1)


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
