"""The parquets of one data set in a folder, with their splits."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.sources.listing import printable
from ravine.data.sources.name_words import ORDER, split_in

_DEPTH = 3
_MOST_ENTRIES = 200  # names of a folder that is only searched for parquets
_OF = re.compile(r"-(\d+)-of-(\d+)")


@dataclass(frozen=True, slots=True)
class ParquetShard:
    """A parquet.

    Attributes:
        path: of the file.
        name: its path below the folder that the user named.
        split: train, validation or test, or None.
        config: folders above it that name no split: the configuration of the hub.
    """

    path: Path
    name: str
    split: str | None
    config: str


def is_parquet(path: Path) -> bool:
    """Returns whether a path is a parquet, or a folder with parquets of images."""
    if path.is_file():
        return _is_shard(path.name)
    return path.is_dir() and next(_found(path, _DEPTH), None) is not None


def _is_shard(name: str) -> bool:
    # metadata.parquet describes images that lie beside it as files.
    return name.lower().endswith(".parquet") and name.lower() != "metadata.parquet"


def _found(folder: Path, depth: int) -> Iterator[Path]:
    """Yields the parquets below a folder; looks into no folder that is full of other files."""
    folders, found, other = [], [], 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif _is_shard(entry.name):
                    found.append(Path(entry.path))
                else:
                    other += 1
                if other + len(folders) > _MOST_ENTRIES:
                    return
    except OSError:
        return
    yield from sorted(found)
    if depth > 1:
        for inner in sorted(folders):
            yield from _found(inner, depth - 1)


def parquet_shards(path: Path) -> list[ParquetShard]:
    """Returns the parquets of the one set at a path, training first.

    Raises:
        DataError: there are several sets, or one file of several names no split.
    """
    if path.is_file():
        return [ParquetShard(path, printable(path.name), None, "")]
    shards = [_shard(path, file) for file in _found(path, _DEPTH)]
    if not shards:
        raise DataError(f"{path} holds no parquet")
    configs = sorted({shard.config for shard in shards})
    if len(configs) > 1:
        shown = ", ".join(repr(config or "./") for config in configs[:5])
        raise DataError(
            f"{path} holds {len(configs)} sets of parquets: {shown}; name the folder of one"
        )
    splits = {shard.split for shard in shards}
    if None in splits and len(splits) > 1:
        odd = next(shard for shard in shards if shard.split is None)
        raise DataError(
            f"{odd.path} names no split, and others do; rename it, as in train-0.parquet, or move "
            "it away"
        )
    return sorted(shards, key=lambda shard: (ORDER.index(shard.split or "train"), shard.name))


def _shard(root: Path, file: Path) -> ParquetShard:
    below = file.relative_to(root)
    folders = [name for name in below.parts[:-1] if split_in(name) is None and name != "data"]
    named = [split_in(part) for part in (file.stem, *reversed(below.parts[:-1]))]
    split = next((found for found in named if found is not None), None)
    return ParquetShard(file, printable(str(below)), split, "/".join(folders))


def missing_shards(shards: Sequence[ParquetShard]) -> int:
    """Returns how many shards the names -00001-of-00005 promise that are not there.

    >>> name = "train-00000-of-00002.parquet"
    >>> missing_shards([ParquetShard(Path(name), name, "train", "")])
    1
    """
    present: dict[str, int] = {}
    promised: dict[str, int] = {}
    for shard in shards:
        if found := _OF.search(shard.name):
            stem = shard.name[: found.start()]
            present[stem] = present.get(stem, 0) + 1
            promised[stem] = max(promised.get(stem, 0), min(int(found[2]), 10**6))
    return sum(max(0, promised[stem] - present[stem]) for stem in present)
