"""Pictures of a run folder as data URIs, so that the page needs no other file.

Links are not followed, and a picture that is too large is left out.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.core.json_text import parse_json
from ravine.core.regular_file import read_regular
from ravine.runs.file_schemas import PICTURES, fault_in
from ravine.runs.links import is_own_file

_MOST_BYTES = 2_000_000  # the pictures that Ravine writes are smaller


def mistake_pictures(run: Path, mistakes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the mistakes with their pictures as `uri`, those without a picture left out."""
    paths = [(row, run / str(row.get("image", ""))) for row in mistakes]
    return [{**row, "uri": _uri(path)} for row, path in paths if _may_be_shown(run, path)]


def is_mistake_picture(run: Path, image: object) -> bool:
    """Returns whether what a row of mistakes names is a picture of the run's own."""
    if not isinstance(image, str) or not image.endswith(".png"):
        return False
    return _may_be_shown(run, run / image)


def surface_pictures(run: Path) -> list[tuple[str, str]]:
    """Returns name and data URI of each picture in landscape/ that the page does not draw itself.

    A surface is drawn from its numbers, which lie next to its picture under the same name, or one
    that begins so.
    """
    folder = run / "landscape"
    drawn = [path.stem for path in folder.glob("*.npz")]
    paths = [
        p for p in sorted(folder.glob("*.png")) if not any(d.startswith(p.stem) for d in drawn)
    ]
    return [(path.stem, _uri(path)) for path in paths if _may_be_shown(run, path)]


def data_pictures(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Returns the augmented training images, with `uri`, and the pairs of copies, with `uris`.

    Both are empty where the run has none, or where they cannot be read.
    """
    folder = run / "pictures"
    path = folder / "index.json"
    none: dict[str, list[dict[str, Any]]] = {"training": [], "pairs": []}
    if not is_own_file(run, path):
        return none
    try:
        found = parse_json(read_regular(path))
    except (OSError, ValueError):
        return none
    if fault_in(found, PICTURES) is not None:
        return none
    shown = [
        {**row, "uri": _uri(folder / row["image"])}
        for row in found.get("training", [])
        if _may_be_shown(run, folder / row["image"])
    ]
    pairs = [
        {**row, "uris": [_uri(folder / name) for name in row["images"]]}
        for row in found.get("pairs", [])
        if all(_may_be_shown(run, folder / name) for name in row["images"])
    ]
    return {"training": shown, "pairs": pairs}


def _may_be_shown(run: Path, path: Path) -> bool:
    return is_own_file(run, path) and path.stat().st_size < _MOST_BYTES


def _uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
