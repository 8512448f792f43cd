"""The commands in the pages on formats print what the pages say."""

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import tifffile
from PIL import Image

from ravine.core.errors import RavineError
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

PAGES = Path(__file__).parents[2] / "docs" / "data"
NAMES = ("mnist-family", "arrays", "hub-parquet", "lists-and-annotations", "pixels-in-tables")


def commands() -> Iterator[tuple[str, str]]:
    """Yields (data, the line that `ravine train DATA` prints) of every block of the pages."""
    for page in NAMES:
        lines = (PAGES / f"{page}.md").read_text().splitlines()
        for number, line in enumerate(lines):
            if line.startswith("    $ ravine train"):
                yield line.removeprefix("    $ ravine train "), lines[number + 1].strip()


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


def pixels(count: int, size: int = 32) -> np.ndarray:
    return np.zeros((count, size, size, 3), np.uint8)


def mnist(folder: Path, prefix: str = "", classes: int = 10, first: int = 0) -> None:
    for split in ("train", "test" if prefix else "t10k"):
        idx(folder / f"{prefix}{split}-images-idx3-ubyte.gz", pixels(classes)[..., 0])
        idx(folder / f"{prefix}{split}-labels-idx1-ubyte.gz", np.arange(classes) + first)


def letters(folder: Path) -> None:
    mnist(folder, "emnist-letters-", 26, 1)
    lines = [f"{n} {64 + n} {96 + n}" for n in range(1, 27)]
    (folder / "emnist-letters-mapping.txt").write_text("\n".join(lines))


def emnist(folder: Path) -> None:
    mnist(folder, "emnist-letters-", 26, 1)
    mnist(folder, "emnist-digits-")


def cifar(folder: Path) -> None:
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    for name in ("data_batch_1", "test_batch"):
        batch = {b"data": pixels(10).reshape(10, -1), b"labels": list(range(10))}
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch))


def medmnist(path: Path) -> None:
    parts = {}
    for split in ("train", "val", "test"):
        parts[f"{split}_images"] = pixels(9)
        parts[f"{split}_labels"] = np.arange(9)[:, None]
    np.savez(path, **parts)


def kuzushiji(folder: Path) -> None:
    folder.mkdir()
    for split in ("train", "test"):
        np.savez(folder / f"k49-{split}-imgs.npz", pixels(49)[..., 0])
        np.savez(folder / f"k49-{split}-labels.npz", np.arange(49))
    rows = [f"{n},U,{chr(0x3042 + n)}" for n in range(49)]
    (folder / "k49_classmap.csv").write_text(
        "\n".join(["index,codepoint,char", *rows]), encoding="utf-8"
    )


def svhn(folder: Path) -> None:
    folder.mkdir()
    for split in ("train", "test", "extra"):
        values = {"X": pixels(10).transpose(1, 2, 3, 0), "y": np.arange(1, 11)[:, None]}
        scipy.io.savemat(folder / f"{split}_32x32.mat", values)


def pcam(folder: Path) -> None:
    folder.mkdir()
    for split in ("train", "valid", "test"):
        for key, array in (("x", pixels(2)), ("y", np.arange(2).reshape(2, 1, 1, 1))):
            with h5py.File(folder / f"camelyonpatch_level_2_split_{split}_{key}.h5", "w") as file:
                file[key] = array
    with h5py.File(folder / "camelyonpatch_level_2_split_train_mask.h5", "w") as file:
        file["mask"] = pixels(2)


def stl10(folder: Path) -> None:
    folder.mkdir()
    for split in ("train", "test"):
        pixels(10, 96).tofile(folder / f"{split}_X.bin")
        np.arange(1, 11, dtype=np.uint8).tofile(folder / f"{split}_y.bin")
    with (folder / "unlabeled_X.bin").open("wb") as file:
        file.truncate(100_000 * 96 * 96 * 3)
    (folder / "fold_indices.txt").write_text("0")


def parquet(path: Path, labels: dict[str, Sequence[int]], names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    count = len(next(iter(labels.values())))
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": file.getvalue(), "path": None}] * count, kind)
    features = {name: {"_type": "ClassLabel", "names": list(names)} for name in labels}
    table = pa.table({"image": images, **{name: pa.array(v) for name, v in labels.items()}})
    info = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), path)


def beans(folder: Path) -> None:
    names = ("angular_leaf_spot", "bean_rust", "healthy")
    for split in ("train", "validation", "test"):
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        parquet(path, {"label": [0, 1, 2]}, names)


def metadata(folder: Path) -> None:
    rows = []
    for split in ("train", "test"):
        for n in range(3):
            picture(folder / split / f"{n}.png")
            rows.append({"file_name": f"{split}/{n}.png", "label": "ab"[n % 2]})
    # The last image has no row.
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows[:-1]))


def lists(folder: Path, home: str, rows: dict[str, list[str]]) -> None:
    (folder / home).mkdir(parents=True)
    for name, lines in rows.items():
        for line in lines:
            picture(folder / "images" / f"{line.split()[0]}.jpg")
        (folder / home / name).write_text("\n".join(lines))


def food(folder: Path) -> None:
    rows = {f"{s}.txt": [f"dish_{n:03d}/{s}" for n in range(101)] for s in ("train", "test")}
    lists(folder, "meta", rows)


def cats_and_dogs(folder: Path) -> None:
    rows = {
        f"{split}.txt": [
            f"Breed_{chr(65 + n % 26)}{n // 26 * 'b'}_{number} {n + 1} 1 1" for n in range(37)
        ]
        for number, split in ((1, "trainval"), (2, "test"))
    }
    lists(folder, "annotations", rows)


def inaturalist(folder: Path) -> None:
    kinds = [{"id": n, "name": f"species {n}"} for n in range(3)]
    for split, first in (("train", 0), ("val", 10), ("test", 20)):
        images = [{"id": first + n, "file_name": f"all/{first + n}.png"} for n in range(3)]
        for image in images:
            picture(folder / str(image["file_name"]))
        marks = [{"id": n, "image_id": first + n, "category_id": n} for n in range(3)]
        content = {"images": images, "annotations": marks, "categories": kinds}
        content |= {"annotations": []} if split == "test" else {}
        (folder / f"{split}2018.json").write_text(json.dumps(content))


def tiny(folder: Path) -> None:
    wnids = [f"n{n:08d}" for n in range(200)]
    for wnid in wnids:
        picture(folder / "train" / wnid / "images" / f"{wnid}_0.JPEG")
    for n in range(3):
        picture(folder / "val" / "images" / f"val_{n}.JPEG")
        picture(folder / "test" / "images" / f"test_{n}.JPEG")
    rows = [f"val_{n}.JPEG\t{wnids[n]}\t0\t0\t7\t7" for n in range(3)]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(rows))
    (folder / "words.txt").write_text("\n".join(f"{w}\tthing {w}, other" for w in wnids))


def signs(folder: Path) -> None:
    for n in range(43):
        picture(folder / "Final_Training" / "Images" / f"{n:05d}" / "00000_00000.ppm")
        (folder / "Final_Training" / "Images" / f"{n:05d}" / f"GT-{n:05d}.csv").write_text(
            "Filename;Width;ClassId"
        )
    picture(folder / "Final_Test" / "Images" / "00000.ppm")
    (folder / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;16")


def digits(folder: Path) -> None:
    folder.mkdir()
    header = [f"pixel{n}" for n in range(784)]
    rows = [",".join([str(n)] + ["0"] * 784) for n in range(10)]
    (folder / "train.csv").write_text("\n".join([",".join(["label", *header]), *rows]))
    rows = [",".join(["0"] * 784)] * 3
    (folder / "test.csv").write_text("\n".join([",".join(header), *rows]))


def faces(path: Path) -> None:
    cell = " ".join(["7"] * 48 * 48)
    usage = ["Training"] * 7 + ["PublicTest", "PrivateTest"]
    rows = [f"{n % 7},{cell},{said}" for n, said in enumerate(usage)]
    path.write_text("\n".join(["emotion,pixels,Usage", *rows]))


def cifar100(path: Path) -> None:
    parquet(path, {"fine_label": [0, 1], "coarse_label": [0, 1]}, ("a", "b"))


def satellite(folder: Path) -> None:
    for name in ("Forest", "River"):
        (folder / name).mkdir(parents=True)
        bands = np.zeros((64, 64, 13), np.uint16)
        path = folder / name / f"{name}_1.tif"
        tifffile.imwrite(path, bands, planarconfig="contig", photometric="minisblack")


def fields(path: Path) -> None:
    np.savez(path, images=np.zeros((4, 64, 64, 5), np.uint8), labels=["dry", "wet"] * 2)


def annotated(folder: Path) -> None:
    tasks = []
    for number in range(4):
        picture(folder / "media" / f"{number}.png")
        marks = {"value": {"choices": [("cat", "dog")[number % 2]]}, "type": "choices"}
        tasks.append(
            {
                "data": {"image": f"/data/upload/1/{number}.png"},
                "annotations": [{"result": [marks]}],
            }
        )
    (folder / "project-1.json").write_text(json.dumps(tasks))


MADE: dict[str, Callable[[Path], None]] = {
    "mnist": mnist,
    "emnist-letters": letters,
    "emnist": emnist,
    "cifar-10-python": cifar,
    "pathmnist.npz": medmnist,
    "k49": kuzushiji,
    "svhn": svhn,
    "pcam": pcam,
    "stl10_binary": stl10,
    "beans": beans,
    "cifar100.parquet": cifar100,
    "images": metadata,
    "food-101": food,
    "oxford-iiit-pet": cats_and_dogs,
    "inat2018": inaturalist,
    "tiny-imagenet-200": tiny,
    "GTSRB": signs,
    "digit-recognizer": digits,
    "fer2013.csv": faces,
    "EuroSAT": satellite,
    "project": annotated,
    "fields.npz": fields,
}


@pytest.mark.parametrize(("data", "printed"), list(commands()))
def test_a_command_prints_what_its_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, printed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    MADE[data](Path(data))

    settings = DataSettings.of({"data": data})
    if printed.startswith("read as "):
        found = find_collection(settings)
        assert found.understood is not None
        line = found.understood.line()
    else:
        with pytest.raises(RavineError) as refused:
            open_dataset(settings, seed=0)
        line = str(refused.value)

    assert line == printed


def test_every_page_has_commands() -> None:
    assert {data for data, _ in commands()} == set(MADE)
