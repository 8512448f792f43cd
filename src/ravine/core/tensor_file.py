"""Tensors with JSON beside them in one safetensors file. No pickle: loading runs no code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError

_KEY = "ravine"


def tensors_to_bytes(tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> bytes:
    """Returns a safetensors file as bytes: the same bytes for the same content.

    All of `about` goes under one key of the metadata, because the order of several keys
    is not fixed by the format's writer.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return save(plain, metadata={_KEY: json.dumps(about, sort_keys=True, ensure_ascii=True)})


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors and what is known about them, whole or not at all."""
    write_whole(path, tensors_to_bytes(tensors, about))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the tensors of a file, on the CPU, and what is known about them.

    Raises:
        RunError: there is no such file, or it is torn or not a safetensors file.
    """
    about = load_about(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} is torn or not a safetensors file: {error}") from error
    return tensors, about


def load_about(path: Path) -> dict[str, Any]:
    """Returns what is known about the tensors of a file, without them.

    Raises:
        RunError: there is no such file, or it is torn or not a safetensors file.
    """
    if not path.is_file():
        raise RunError(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} is torn or not a safetensors file: {error}") from error
    if not isinstance(about, dict):
        raise RunError(f"{path}: its metadata is not a JSON object")
    return about
