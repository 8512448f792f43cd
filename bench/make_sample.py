"""Makes the sample that ships with Ravine from the whole Fashion-MNIST.

    python bench/make_sample.py FOLDER_OF_FASHION_MNIST

Takes the first 1,000 training and 200 test images of each class.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from ravine.data.sources.idx import read_idx

TARGET = Path(__file__).parent.parent / "src/ravine/data/sample"


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(head + array.tobytes())


def main(source: Path) -> None:
    TARGET.mkdir(exist_ok=True)
    for split, per_class in (("train", 1000), ("t10k", 200)):
        images = read_idx(source / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{split}-labels-idx1-ubyte.gz")
        firsts = [np.flatnonzero(labels == label)[:per_class] for label in range(10)]
        chosen = np.sort(np.concatenate(firsts))
        write_idx(TARGET / f"{split}-images-idx3-ubyte.gz", images[chosen])
        write_idx(TARGET / f"{split}-labels-idx1-ubyte.gz", labels[chosen])


main(Path(sys.argv[1]))
