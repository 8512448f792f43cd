"""Tensors and JSON metadata in one safetensors file. No pickle: loading runs no code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.core.json_text import parse_json

_KEY = "ravine"


def tensors_to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Returns a safetensors file as bytes: the same bytes for the same content.

    All of `metadata` goes under one key, because the format's writer does not fix the order of
    several keys.

    Args:
        tensors: of any shapes and dtypes, by name.
        metadata: JSON values.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return save(plain, metadata={_KEY: json.dumps(metadata, sort_keys=True, ensure_ascii=True)})


def save_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes tensors and metadata atomically.

    Args:
        path: of the file.
        tensors: of any shapes and dtypes, by name.
        metadata: JSON values.

    Raises:
        RunError: the disk is full or read-only.
    """
    write_whole(path, tensors_to_bytes(tensors, metadata))


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Returns the tensors of a file by name, of any shapes, on the CPU; and its metadata.

    Raises:
        RunError: the file is missing, torn, or not a safetensors file.
    """
    metadata = load_metadata(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} is torn or not a safetensors file: {error}") from error
    return tensors, metadata


def load_metadata(path: Path) -> dict[str, Any]:
    """Returns the metadata of a file, without its tensors.

    Raises:
        RunError: there is no such file, or it is torn or not a safetensors file.
    """
    if not path.is_file():
        raise RunError(f"no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = parse_json((file.metadata() or {}).get(_KEY, "{}"))
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} is torn or not a safetensors file: {error}") from error
    if not isinstance(metadata, dict):
        raise RunError(f"{path}: its metadata is not a JSON object")
    return metadata
