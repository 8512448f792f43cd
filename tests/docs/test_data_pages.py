"""The commands in docs/data print what the pages say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import RavineError
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings

PAGES = Path(__file__).parents[2] / "docs" / "data"
CLASSES = ("rose", "tulip", "lily")


def commands() -> Iterator[tuple[str, str, str]]:
    """Yields (page, command, the line it prints) of every block of the pages of this suite."""
    for page in ("index.md", "folders.md", "tables.md", "several-labels.md"):
        lines = (PAGES / page).read_text().splitlines()
        for number, line in enumerate(lines):
            if line.startswith("    $ ravine train"):
                yield page, line.removeprefix("    $ ravine train "), lines[number + 1].strip()


def each(folders: dict[str, int]) -> list[str]:
    return [f"{folder}/{n}.png" for folder, count in folders.items() for n in range(count)]


TREES = {
    "photos": each({"cat": 3, "dog": 3}),
    "food": [*each({"images/apple": 3, "images/pie": 3}), "meta/notes.txt"],
    "nature": each({"Birds/crow": 2, "Birds/jay": 2, "Plants/rose": 2, "Plants/daisy": 2}),
    "sites": each({"north/cat": 2, "north/dog": 2, "south/cat": 2, "south/dog": 2}),
    "scenes": each(
        {f"seg_{s}/seg_{s}/{c}": 2 for s in ("train", "test") for c in ("sea", "street")}
        | {"seg_pred/seg_pred": 3}
    ),
    "garden": each({f"{place}{c}": 2 for place in ("", "garden/") for c in ("rose", "tulip")}),
    "transport": each({"bus": 2, "car": 2, "test": 2}),
    "folds": each({f"fold{n}/{c}": 2 for n in (1, 2) for c in ("cat", "dog")}),
    "cats": [f"train/{c}.{n}.jpg" for c in ("cat", "dog") for n in range(9)] + each({"test": 3}),
    "contest": [f"train/p{n}.png" for n in range(6)] + each({"test": 3}),
    "ham": [],
    "clinic": [],
    "phone": [*each({"cat": 3, "dog": 3}), *(f"cat/{n}.nef" for n in range(5)), "dog/one"],
    "boxes": [f"{s}/{k}/{n}{e}" for s in ("train", "valid")
              for k, e in (("images", ".png"), ("labels", ".txt")) for n in range(3)],
}  # fmt: skip


def table(header: str, rows: list[str]) -> str:
    return "\n".join([*([header] if header else []), *rows])


TABLES = {
    "flowers/labels.csv": table("id,species", [f"{n},{CLASSES[n % 3]}" for n in range(12)]),
    "bare/labels.csv": table("", [f"{n}.png {CLASSES[n % 3]}" for n in range(12)]),
    "leaves/train.csv": table(
        "image_id,healthy,multiple_diseases,rust,scab",
        [f"{n}," + ",".join(str(int(n % 4 == c)) for c in range(4)) for n in range(12)],
    ),
    "orchard/train.csv": table(
        "image,labels",
        [f"{n},{['scab', 'rust', 'scab rust', 'healthy'][n % 4]}" for n in range(12)],
    ),
    "wardrobe/train.csv": table(
        "image,coat,bag,boot", [f"{n},{n % 2},{int(n % 3 == 0)},{int(n > 8)}" for n in range(12)]
    ),
    "sky/train.csv": table(
        "image,tags",
        [f"{n},{['clear road', 'haze road', 'clear river', 'road'][n % 4]}" for n in range(12)],
    ),
    "coded/train.csv": table("id,label", [f"{n},{n % 3}" for n in range(12)]),
    "pets/train.csv": table(
        "name,label,is_valid", [f"{n},{CLASSES[n % 3]},{n > 8}" for n in range(12)]
    ),
    "halves/train.csv": table(
        "id,label,split", [f"{n},{CLASSES[n % 3]},{int(n > 8)}" for n in range(12)]
    ),
    "ham/HAM_metadata.csv": table("image_id,dx", [f"ISIC_{n},{CLASSES[n % 3]}" for n in range(12)]),
    "clinic/labels.csv": table("image,label", [f"{n},{CLASSES[n % 3]}" for n in range(12)]),
    "celeba/list_attr_celeba.txt": table(
        "12\n" + " ".join(f"Attribute_{k}" for k in range(40)),
        [
            f"{n:06d}.jpg {' '.join(str(1 if (n + k) % 3 else -1) for k in range(40))}"
            for n in range(12)
        ],
    ),
    "celeba/list_eval_partition.txt": table(
        "", [f"{n:06d}.jpg {(0, 0, 1, 2)[n % 4]}" for n in range(12)]
    ),
    "contest/train.csv": table("image_id,label", [f"p{n},{CLASSES[n % 2]}" for n in range(6)]),
}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the folders of the pages, with real images for the tables, in the working folder."""
    for root, names in TREES.items():
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
    for name, text in TABLES.items():
        folder = (tmp_path / name).parent
        _images(folder, 0 if folder.name in ("contest", "ham", "clinic", "celeba") else 12)
        (tmp_path / name).write_text(text)
    for number in range(12):
        for name in (
            f"ham/HAM_part_{1 + number % 2}/ISIC_{number}",
            f"clinic/{number % 4}/{number}",
            f"celeba/img_align_celeba/{number:06d}",
        ):
            _images((tmp_path / name).parent, 0)
            ending = ".jpg" if name.startswith("celeba") else ".png"
            (tmp_path / f"{name}{ending}").write_bytes(name.encode())
    (tmp_path / "coded" / "classes.csv").write_text("id,name\n0,rose\n1,tulip\n2,lily")
    for split in ("train", "test"):
        _images(tmp_path / "hub" / split, 6)
        rows = [f"{n}.png,{CLASSES[n % 3]}" for n in range(6)]
        (tmp_path / "hub" / split / "metadata.csv").write_text(table("file_name,label", rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")


@pytest.mark.parametrize(("page", "command", "printed"), list(commands()))
def test_a_command_prints_what_its_page_says(
    examples: Path, page: str, command: str, printed: str
) -> None:
    data, *options = command.split()
    settings = dict(zip(options[::2], options[1::2], strict=True))
    chosen = {name.removeprefix("--").replace("-", "_"): v for name, v in settings.items()}

    try:
        found = find_collection(DataSettings.of({"data": data, **chosen}))
    except RavineError as error:
        line = str(error)
    else:
        assert found.understood is not None
        line = found.understood.line()

    assert line == printed
