"""Checkpoints: the whole training state in a folder, written whole or not at all.

    checkpoints/step-00000420/state.safetensors   every tensor
    checkpoints/step-00000420/state.json          every plain value, and the digest of the tensors

The last two are kept, so that a torn one falls back to the one before.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ravine.core.atomic import write_folder_whole, write_whole
from ravine.core.errors import RunError
from ravine.core.tensor_file import load_tensors, tensors_to_bytes
from ravine.runs.rows import plain

_KEPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training state on disk.

    Attributes:
        step: training steps that it has seen.
        path: of its folder.
        tensors: by name, on the CPU.
        values: plain values by name.
    """

    step: int
    path: Path
    tensors: Mapping[str, torch.Tensor]
    values: Mapping[str, Any]


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]
) -> Path:
    """Writes the state after `step` steps and removes all but the last two checkpoints.

    Args:
        folder: of all checkpoints of a run.
        step: training steps so far.
        tensors: of any shapes and dtypes, by name.
        values: plain values by name.

    Returns:
        The folder of the checkpoint.

    Raises:
        RunError: the disk is full or read-only; the checkpoints before it are untouched.
    """
    path = folder / f"step-{step:08d}"
    if path.exists():
        shutil.rmtree(path)
    content = tensors_to_bytes(tensors, {})
    described = {
        "step": step,
        "sha256": hashlib.sha256(content).hexdigest(),
        "values": plain(values),
    }

    def fill(part: Path) -> None:
        write_whole(part / "state.safetensors", content)
        text = json.dumps(described, indent=2, sort_keys=True, allow_nan=False)
        write_whole(part / "state.json", text.encode())

    write_folder_whole(path, fill)
    for old in checkpoint_paths(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    for torn in folder.glob(".step-*.part"):
        shutil.rmtree(torn, ignore_errors=True)
    return path


def checkpoint_paths(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load_checkpoint(path: Path) -> Checkpoint:
    """Returns one checkpoint.

    Raises:
        RunError: it is torn or corrupt.
    """
    try:
        described = json.loads((path / "state.json").read_text(encoding="utf-8"))
        digest = hashlib.sha256((path / "state.safetensors").read_bytes()).hexdigest()
        expected, step, values = described["sha256"], described["step"], described["values"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"checkpoint {path.name} is torn ({type(error).__name__})") from error
    if digest != expected:
        raise RunError(f"checkpoint {path.name} is corrupt: its tensors do not match their digest")
    tensors, _ = load_tensors(path / "state.safetensors")
    return Checkpoint(step=step, path=path, tensors=tensors, values=values)


def load_latest(folder: Path, *, warn: Callable[[str], None]) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None; `warn` is called for each torn one."""
    for path in reversed(checkpoint_paths(folder)):
        try:
            return load_checkpoint(path)
        except RunError as error:
            warn(f"{error}; falling back to the one before")
    return None
