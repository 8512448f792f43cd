"""The groups of cases by name."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzzing.archives import archive_case
from fuzzing.calls import call_case
from fuzzing.case import Case, remove
from fuzzing.checkpoints import checkpoint_case
from fuzzing.columns import column_case
from fuzzing.commands import command_case
from fuzzing.fixtures import Fixtures
from fuzzing.loops import loop_case
from fuzzing.recipes import recipe_case
from fuzzing.runs import run_folder_case
from fuzzing.samples import sample_case
from fuzzing.tables import table_case
from fuzzing.torchrun import torchrun_case
from fuzzing.trees import tree_case
from fuzzing.truth import truth_case

Maker = Callable[[random.Random, Fixtures, Path], Case]

GROUPS: Mapping[str, Maker] = {
    "commands": command_case,
    "recipes": recipe_case,
    "runs": run_folder_case,
    "checkpoints": checkpoint_case,
    "tables": table_case,
    "archives": archive_case,
    "columns": column_case,
    "calls": call_case,
    "loops": loop_case,
    "samples": sample_case,
    "torchrun": torchrun_case,
    "trees": tree_case,
    "truth": truth_case,
}


def make_case(name: str, number: int, seed: int, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a case of a group, with its files in `folder`: always the same for these numbers."""
    remove(folder)
    folder.mkdir(parents=True)
    return GROUPS[name](random.Random(f"{seed}/{name}/{number}"), fixtures, folder)
