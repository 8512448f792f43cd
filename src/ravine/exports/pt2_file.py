"""model.pt2: a program of torch.export, run by torch without Ravine."""

from pathlib import Path

import numpy as np
import torch

from ravine.exports.exportable import Exportable
from ravine.exports.facts import KEY
from ravine.exports.runner import Runner

EXTRA_FILE = f"{KEY}.json"


def write_pt2(exportable: Exportable, path: Path) -> None:
    """Writes the file, with the facts beside the program in the archive."""
    torch.export.save(
        exportable.captured.program, path, extra_files={EXTRA_FILE: exportable.facts.to_text()}
    )


def open_pt2(path: Path, threads: int) -> Runner:
    """Returns what runs a file in torch, in the threads that torch has.

    Args:
        path: of the file.
        threads: not used: they are the process's own.
    """
    del threads
    module = torch.export.load(path).module()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: torch.Tensor = module(torch.from_numpy(images))
        return found.numpy()

    return Runner(run=run, runtime=f"torch {torch.__version__}")
