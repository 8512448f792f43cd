"""Images to predict out of parquets, with or without a column of labels.

Shape letters: N images.
"""

from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.parquet import OpenedParquet, image_batches
from ravine.data.sources.parquet_schema import find_image_column
from ravine.data.sources.parquet_shards import ParquetShard, parquet_shards
from ravine.data.sources.spool import spooled_images
from ravine.data.understanding import Understood


def read_unlabelled_parquet(path: Path, image_column: str | None, progress: Progress) -> Collection:
    """Returns the images of a parquet, or of a folder's parquets; of several splits the test's.

    Raises:
        DataError: pyarrow is missing, a file is torn, or no column or several hold images.
    """
    shards = parquet_shards(path)
    chosen = [shard for shard in shards if shard.split == "test"] or shards
    settings = DataSettings(image_column=image_column)
    with OpenedParquet(chosen[0].path) as file:
        columns = find_image_column(chosen[0].path, file.schema_arrow, settings)
    names = [name for shard in chosen for name in _names(shard, columns.image, columns.has_path)]
    entries = spooled_images(
        [shard.path for shard in chosen],
        columns.image,
        cache=True,
        batches=lambda: image_batches(chosen, columns, progress, len(names)),
    )
    if None in entries or len(entries) != len(names):
        empty = names[entries.index(None)] if None in entries else path
        raise DataError(f"{empty} holds no image; remove the row, or write its image into it")
    return Collection(
        names=names,
        labels=np.zeros(len(names), np.int64),
        classes=("",),
        files=[entry for entry in entries if entry is not None],
        understood=Understood(
            "parquet",
            f"none, the images of {columns.image}",
            left_out=tuple(shard.name for shard in shards if shard not in chosen),
        ),
    )


def _names(shard: ParquetShard, column: str, has_path: bool) -> list[str]:
    with OpenedParquet(shard.path) as file:
        count = int(file.metadata.num_rows)
        if not has_path:
            return [f"{shard.name}[{row}]" for row in range(count)]
        table = file.read(columns=[f"{column}.path"])
        paths = [(one or {}).get("path") for one in table.column(column).to_pylist()]
    return [path or f"{shard.name}[{row}]" for row, path in enumerate(paths)]
