"""The argument RUN: a run folder, by default the newest below runs/.

It is looked for before the command loads what trains, so that a mistake is answered at once.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ravine.core.launch import is_secondary_process
from ravine.runs.folder import LATEST, RUNS, latest_run, open_run_folder

RunArgument = Annotated[
    Path | None,
    typer.Argument(help="The run folder, or runs/latest. [the newest below runs/]"),
]
TrainedArgument = Annotated[
    Path | None,
    typer.Argument(
        help="A run folder, runs/latest, or a model.safetensors. [the newest below runs/]"
    ),
]
NamedTrainedArgument = Annotated[
    Path, typer.Argument(help="A run folder, runs/latest, or a model.safetensors.")
]


def existing_run(run: Path | None, *, unfinished: bool = False, folded: bool = False) -> Path:
    """Returns the run folder that is meant, and prints which where it was not named.

    Args:
        run: as it was given; None for the newest.
        unfinished: whether the newest that has not ended is meant.
        folded: whether it may be a cross-validated run.

    Raises:
        RunError: there is no run, or it is cross-validated and may not be.
    """
    named = latest_run(RUNS, unfinished=unfinished) if run is None else run
    found = open_run_folder(named, folded=folded).path
    if (run is None or run.name == LATEST) and not is_secondary_process():
        print(f"run {found}", file=sys.stderr)
    return found


def existing_model(run: Path | None) -> Path:
    """Returns the run folder or the model file that is meant; of None the newest run.

    Raises:
        RunError: there is neither.
    """
    return run if run is not None and run.is_file() else existing_run(run, folded=True)
