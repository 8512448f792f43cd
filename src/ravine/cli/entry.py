"""The command `ravine`: `ravine data` starts without torch, every other command with all of it.

Loading torch and the other commands takes longer than a look at 100,000 file names; so `main` is
loaded by its name, as the front door of the package loads its rooms.
"""

import sys
from importlib import import_module

import typer

from ravine.cli.data import data
from ravine.core.errors import RavineError


def main() -> None:
    """Runs a command; a user's mistake is one line and exit code 2."""
    if sys.argv[1:2] != ["data"]:
        import_module("ravine.cli.main").main()
        return
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown"
    )
    app.command(name="data")(data)
    app.callback()(lambda: None)
    try:
        app()
    except RavineError as error:
        print(f"ravine: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
