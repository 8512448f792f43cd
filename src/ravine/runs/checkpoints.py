"""Checkpoints: the whole training state in a folder, written whole or not at all.

    checkpoints/step-00000420/state.safetensors   every tensor
    checkpoints/step-00000420/state.json          every plain value, and the digest of the tensors

The last two are kept, so that a torn one falls back to the one before.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ravine.core.atomic import (
    disk_error,
    scratch_folder,
    sweep_parts,
    write_folder_whole,
    write_whole,
)
from ravine.core.errors import RunError
from ravine.core.json_text import parse_json
from ravine.core.regular_file import read_regular
from ravine.core.tensor_file import load_tensors, tensors_to_bytes
from ravine.runs.rows import plain

_KEPT = 2
_NEW = ".new"  # of a checkpoint that is written anew, until the one before it is moved away
_NAME = re.compile(r"step-\d{1,18}(\.new)?", re.ASCII)


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
    folder: Path,
    step: int,
    tensors: Mapping[str, torch.Tensor],
    values: Mapping[str, Any],
    *,
    clocks: Collection[str] = (),
) -> Path:
    """Writes the state after `step` steps and removes all but the last two checkpoints.

    At no moment is there no whole checkpoint: one of the same step is left as it is where it holds
    the same state, and is else moved away after the new one is written.

    Args:
        folder: of all checkpoints of a run.
        step: training steps so far.
        tensors: of any shapes and dtypes, by name.
        values: plain values by name.
        clocks: names of values that may differ between two checkpoints of the same state.

    Returns:
        The folder of the checkpoint.

    Raises:
        RunError: the disk is full or read-only; the checkpoints before it are untouched.
    """
    path = folder / f"step-{step:08d}"
    content = tensors_to_bytes(tensors, {})
    described: dict[str, Any] = {
        "step": step,
        "sha256": hashlib.sha256(content).hexdigest(),
        "values": plain(values),
    }

    def fill(part: Path) -> None:
        write_whole(part / "state.safetensors", content)
        text = json.dumps(described, indent=2, sort_keys=True, allow_nan=False)
        write_whole(part / "state.json", text.encode())

    _settle(folder)
    if not path.exists():
        write_folder_whole(path, fill)
    elif not _holds(path, described, clocks):
        write_folder_whole(path.with_name(path.name + _NEW), fill)
        _settle(folder)
    for old in checkpoint_paths(folder)[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    sweep_parts(folder)
    return path


def _holds(path: Path, described: Mapping[str, Any], clocks: Collection[str]) -> bool:
    """Returns whether a checkpoint is whole and of this state, whatever its clocks say."""

    def without_clocks(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name not in clocks}

    try:
        found, digest = _read_described(path)
    except RunError:
        return False
    same = digest == described["sha256"] and found["step"] == described["step"]
    return same and without_clocks(found["values"]) == without_clocks(described["values"])


def _settle(folder: Path) -> None:
    """Lets a checkpoint that was written anew take the name of the one before it."""
    for new in checkpoint_paths(folder):
        if new.name.endswith(_NEW):
            path = new.with_name(new.name.removesuffix(_NEW))
            try:
                with scratch_folder(path) as aside:
                    if path.exists():
                        path.rename(aside / "old")
                    new.rename(path)
            except OSError as error:
                raise disk_error(path, error) from error


def checkpoint_paths(folder: Path) -> list[Path]:
    """Returns the checkpoints of a run, oldest first; other names and links are passed over."""
    named = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    folders = (path for path in named if path.is_dir() and not path.is_symlink())
    return sorted(folders, key=lambda path: (checkpoint_step(path), path.name))


def checkpoint_step(path: Path) -> int:
    """Returns the step that the name of a checkpoint's folder says."""
    return int(path.name.removeprefix("step-").removesuffix(_NEW))


def load_checkpoint(path: Path) -> Checkpoint:
    """Returns one checkpoint.

    Raises:
        RunError: it is torn or corrupt.
    """
    described, digest = _read_described(path)
    if digest != described["sha256"]:
        raise RunError(f"checkpoint {path.name} is corrupt: its tensors do not match their digest")
    tensors, _ = load_tensors(path / "state.safetensors")
    return Checkpoint(
        step=described["step"], path=path, tensors=tensors, values=described["values"]
    )


def _read_described(path: Path) -> tuple[dict[str, Any], str]:
    """Returns what state.json holds, and the digest of the tensors as they are.

    Raises:
        RunError: one of the two is not there, or state.json does not hold what it should.
    """
    try:
        described = parse_json(read_regular(path / "state.json"))
        digest = hashlib.sha256(read_regular(path / "state.safetensors")).hexdigest()
    except (OSError, ValueError) as error:
        raise RunError(f"checkpoint {path.name} is torn ({type(error).__name__})") from error
    step = described.get("step") if isinstance(described, dict) else None
    if type(step) is not int or step != checkpoint_step(path):
        raise RunError(f"checkpoint {path.name} is torn: its state.json is of step {step!r:.40}")
    kinds = {"values": dict, "sha256": str}
    for name, kind in kinds.items():
        if not isinstance(described.get(name), kind):
            raise RunError(f"checkpoint {path.name} is torn: its state.json lacks {name}")
    return described, digest


def load_latest(
    folder: Path, *, warn: Callable[[str], None], use: Callable[[Checkpoint], None] | None = None
) -> Checkpoint | None:
    """Returns the newest checkpoint that is whole, or None.

    Args:
        folder: of all checkpoints of a run.
        warn: is called with a line for each checkpoint that is not whole.
        use: is called with the checkpoint; where it raises `RunError`, as where the state does not
            fit the network, the one before is tried.

    Raises:
        RunError: there are whole checkpoints, and `use` took none of them.
    """
    unfit: RunError | None = None
    for path in reversed(checkpoint_paths(folder)):
        try:
            found = load_checkpoint(path)
        except RunError as error:
            warn(f"{error}; falling back to the one before")
            continue
        try:
            if use is not None:
                use(found)
        except RunError as error:
            warn(f"{path.name}: {error}; falling back to the one before")
            unfit = unfit or error
            continue
        return found
    if unfit is not None:
        raise unfit
    return None
