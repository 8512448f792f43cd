"""The table of all runs of a folder: what has not changed on disk is not read again."""

import time
from pathlib import Path
from typing import Any, final

from ravine.runs.folder import RunFolder
from ravine.runs.run_list import RunEntry, read_entry, run_paths

_FILES = (
    "recipe.toml", "history.jsonl", "findings.jsonl", "evaluation.json", "model.safetensors",
    "race.json", "results.json",
)  # fmt: skip
_EVERY = 1.0  # seconds between two looks at the disk, however many pages ask
_Signature = tuple[object, ...]


@final
class RunTable:
    """The runs and races below a folder.

    Args:
        root: of runs, or a run itself.

    Attributes:
        version: grows whenever a row changed.
        entries: by name; the only names that a page may ask for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._signatures: dict[str, _Signature] = {}
        self._read_at = -_EVERY
        self.version = 0
        self.entries: dict[str, RunEntry] = {}

    def refresh(self) -> None:
        """Reads the runs whose files have changed since the last call."""
        if time.monotonic() - self._read_at < _EVERY:
            return
        entries: dict[str, RunEntry] = {}
        signatures: dict[str, _Signature] = {}
        for path in run_paths(self._root):
            name = path.relative_to(self._root).as_posix() if path != self._root else path.name
            signatures[name] = signature = _signature(path)
            known = self._signatures.get(name) == signature
            entries[name] = self.entries[name] if known else read_entry(path, self._root)
        if signatures != self._signatures:
            self.version += 1
        self.entries, self._signatures = entries, signatures
        self._read_at = time.monotonic()

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each run, the newest first; paths stay on this machine."""
        ordered = sorted(self.entries.values(), key=lambda one: (-one.changed, one.name))
        return [one.row() for one in ordered]


def _signature(path: Path) -> _Signature:
    """Returns what changes when a run does: sizes and times of its files, and its lock."""
    facts: list[object] = [RunFolder(path).is_locked]
    race = path.parent.parent / "results.json"  # with it a race has ended its other trials
    for file in (*(path / name for name in _FILES), race):
        try:
            found = file.stat()
            facts.append((found.st_size, found.st_mtime_ns))
        except OSError:
            facts.append(None)
    return tuple(facts)
