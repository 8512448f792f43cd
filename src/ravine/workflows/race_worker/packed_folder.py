"""A run folder as bytes: it travels with its job between machines that share no disk."""

import io
import tarfile
from pathlib import Path


def pack(path: Path) -> bytes:
    """Returns a folder as bytes; nothing where there is none."""
    if not path.is_dir():
        return b""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=".")
    return buffer.getvalue()


def unpack(packed: bytes, path: Path) -> None:
    """Puts a packed folder at `path`, over the files there."""
    if not packed:
        return
    path.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(path, filter="data")
