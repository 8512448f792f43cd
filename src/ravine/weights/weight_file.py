"""Tensors of a safetensors file that anybody may have written. No pickle is ever opened.

The header is judged before the library reads it, so that a lying one is named by what is wrong.
"""

import json
import math
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ravine.core.errors import PickleRefusedError, RunError
from ravine.core.json_text import parse_json

PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".tar")
_MOST_AXES = 16
_LENGTH = 8  # bytes of the header's length
_LARGEST_HEADER = 100_000_000  # the format's own limit
_BYTES = {  # of a number, by the names that the format has for types
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_WRAPPERS = ("module.", "_orig_mod.", "model.", "state_dict.")


def refuse_pickle(path: Path, *, target: Path | None = None) -> None:
    """Raises `PickleRefusedError` for a file of torch.save, by its name or its first bytes.

    Args:
        path: of the file.
        target: that the two lines of the message make of it; by default beside it.
    """
    with path.open("rb") as file:
        start = file.read(_LENGTH + 1)
    # A header's length may begin with any byte; a brace after it begins the header itself.
    by_bytes = start.startswith(_ZIP) or (start.startswith(_PICKLE) and start[_LENGTH:] != b"{")
    if path.suffix.lower() not in PICKLES and not by_bytes:
        return
    if target is None:
        named = path.with_suffix("") if path.suffix != ".safetensors" else Path(f"{path}-converted")
        target = Path(f"{named}.safetensors")
    raise PickleRefusedError(
        f"{path} is a pickle, which can run code when it is opened, so that Ravine opens none; if "
        f"you trust it, these two lines of Python make {target.name} of it:",
        (
            "import io, pathlib, torch; from safetensors.torch import save_file; found = torch.load"
            f'(io.BytesIO(pathlib.Path({str(path)!r}).read_bytes()), "cpu", weights_only=True)',
            "found = found.get('state_dict', found.get('model', found)); save_file({k: v.clone()."
            "contiguous() for k, v in found.items() if torch.is_tensor(v)}, "
            f"{str(target)!r})",
        ),
    )


def read_weight_file(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Returns the tensors of a file, of any shapes, by name, and its metadata.

    A prefix that a wrapper has put before every name, such as `module.`, is taken off.

    Raises:
        RunError: the file is missing, a pickle, torn, or its header lies.
    """
    if not path.is_file():
        raise RunError(f"no file {path}")
    try:
        refuse_pickle(path)
        _check_header(path)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, ValueError, OSError, RuntimeError, OverflowError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{path} is torn or no safetensors file: {first[:100]}; copy or download it again"
        ) from error
    if not tensors:
        raise RunError(f"{path} holds no tensors; name other weights")
    return _without_wrapper(tensors), metadata


def _check_header(path: Path) -> None:
    """Raises `ValueError` where the header does not describe the bytes that follow it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LENGTH)
        if len(head) < _LENGTH:
            raise ValueError(f"{size} bytes are no header")
        (length,) = struct.unpack("<Q", head)
        if length > min(size - _LENGTH, _LARGEST_HEADER):
            raise ValueError(f"its header claims {length:,} bytes of the file's {size:,}")
        try:
            header = parse_json(file.read(length).decode())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    _check_offsets(header, size - _LENGTH - length)


def _check_offsets(header: dict[str, object], content: int) -> None:
    """Raises `ValueError` where tensors are not of their shapes, one behind the other."""
    places: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict):
            raise ValueError(f"its header says of {name[:60]!r} not where it lies")
        places.append((*_place(name, entry, content), name))
    end = 0
    for first, last, name in sorted(places):
        if first != end:
            raise ValueError(
                f"its header places {name[:60]!r} at byte {first}; those before end at {end}"
            )
        end = last


def _place(name: str, entry: dict[str, object], content: int) -> tuple[int, int]:
    """Returns the first byte of a tensor and the one behind its last."""
    offsets, shape, kind = entry.get("data_offsets"), entry.get("shape"), entry.get("dtype")
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError(f"its header says of {name[:60]!r} not where it lies")
    first, last = offsets
    if not (type(first) is int and type(last) is int and 0 <= first <= last <= content):
        raise ValueError(
            f"its header places {name[:60]!r} at bytes {first} to {last} of {content:,}"
        )
    if not isinstance(kind, str) or kind not in _BYTES:
        raise ValueError(f"its header gives {name[:60]!r} the unknown type {str(kind)[:20]!r}")
    if not isinstance(shape, list) or len(shape) > _MOST_AXES or not _are_counts(shape):
        raise ValueError(f"its header gives {name[:60]!r} the shape {str(shape)[:40]}")
    wanted = math.prod(shape) * _BYTES[kind]
    if wanted != last - first:
        raise ValueError(
            f"its header gives {name[:60]!r} {last - first:,} bytes for {wanted:,} of its shape"
        )
    return first, last


def _are_counts(values: list[object]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _without_wrapper(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            return _without_wrapper({k.removeprefix(prefix): v for k, v in tensors.items()})
    return tensors
