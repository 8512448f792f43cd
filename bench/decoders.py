"""JPEGs through simplejpeg and Pillow alone: one-thread processor time of the cache's build.

    OMP_NUM_THREADS=1 python bench/decoders.py FOLDER_OF_JPEG

FOLDER_OF_JPEG has class folders, such as CIFAR-10 as JPEG; 6,000 of its files are read, decoded,
resized, hashed and summed as for the cache, and so are 300 JPEGs of 500×400 made here. Both ways
take turns; the least of the rounds counts, and the caches are compared bit for bit.
"""

import argparse
import io
import random
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image
from results import keep

from ravine.data import decode as decoding
from ravine.data.cache_writer import CacheWriter, decode_into
from ravine.data.collection import FileEntry
from ravine.data.image_file import ImageFormat
from ravine.data.quick_jpeg import quick_jpeg

FILES, PHOTOS, ROUNDS = 6_000, 300, 5
WAYS = {"simplejpeg": quick_jpeg, "Pillow alone": lambda *_: None}


def entry_of(path: Path) -> FileEntry:
    facts = path.stat()
    return FileEntry(path=str(path), size=facts.st_size, modified=facts.st_mtime_ns)


def photo(path: Path, seed: int) -> None:
    """Writes a JPEG of 500×400, smooth with noise, as cameras make them: 4:2:0, quality 85."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 10, 3), np.uint8))
    smooth = np.asarray(small.resize((500, 400), Image.Resampling.BICUBIC), np.float32)
    noisy = (smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=85)
    path.write_bytes(file.getvalue())


def built(files: list[FileEntry], size: int, way: str) -> tuple[float, bytes]:
    """Returns processor seconds for a cache of these files, and its images' bytes."""
    decoding.quick_jpeg = WAYS[way]  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        writer = CacheWriter(
            Path(folder), len(files), ImageFormat(image_size=size, channels=3), new=True
        )
        start = time.process_time()
        unreadable, _ = decode_into(writer, files, 0, len(files), None)
        seconds = time.process_time() - start
        assert not unreadable
        assert writer.images is not None
        return seconds, writer.images.tobytes()


def compared(files: list[FileEntry], size: int) -> dict[str, float]:
    """Returns microseconds of the processor for an image, each way, and their ratio."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    images: dict[str, bytes] = {}
    for _ in range(ROUNDS):
        for way in WAYS:
            taken, images[way] = built(files, size, way)
            seconds[way].append(taken)
    assert images["simplejpeg"] == images["Pillow alone"]
    least = {way: min(each) / len(files) * 1e6 for way, each in seconds.items()}
    return {**least, "ratio": least["Pillow alone"] / least["simplejpeg"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    paths = sorted(parser.parse_args().folder.rglob("*.jp*g"))
    small = [entry_of(path) for path in random.Random(0).sample(paths, FILES)]
    with tempfile.TemporaryDirectory() as folder:
        large = [Path(folder) / f"{number}.jpg" for number in range(PHOTOS)]
        for number, path in enumerate(large):
            photo(path, number)
        photos = [entry_of(path) for path in large]
        figures = {
            "processor microseconds for an image, 32×32": compared(small, 32),
            "500×400 to 64": compared(photos, 64),
            "500×400 to 224": compared(photos, 224),
            "versions": {name: version(name) for name in ("simplejpeg", "pillow")},
        }
    keep("decoders", "OMP_NUM_THREADS=1 python bench/decoders.py cifar10-jpeg/", figures)


if __name__ == "__main__":
    main()
