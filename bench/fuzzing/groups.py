"""The groups of cases by name."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzzing.case import Case, remove
from fuzzing.commands import command_case
from fuzzing.fixtures import Fixtures
from fuzzing.recipes import recipe_case
from fuzzing.runs import run_folder_case
from fuzzing.samples import sample_case
from fuzzing.torchrun import torchrun_case
from fuzzing.trees import tree_case

Maker = Callable[[random.Random, Fixtures, Path], Case]

GROUPS: Mapping[str, Maker] = {
    "commands": command_case,
    "recipes": recipe_case,
    "runs": run_folder_case,
    "samples": sample_case,
    "torchrun": torchrun_case,
    "trees": tree_case,
}


def make_case(name: str, number: int, seed: int, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a case of a group, with its files in `folder`: always the same for these numbers."""
    remove(folder)
    folder.mkdir(parents=True)
    return GROUPS[name](random.Random(f"{seed}/{name}/{number}"), fixtures, folder)
