"""Lists of images in the forms that people write: paths of another machine, labels first, flags."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.label_sets import has_several
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings

Line = Callable[[str, int], str]


def _find(path: Path, **options: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(path), **options}))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _tree(
    root: Path, line: Line, *, above: str = "", lists: tuple[str, ...] = ("train", "test")
) -> Path:
    """Writes images/{cat,dog}/000.png to 005.png, and lists: the last two of each are for test."""
    for number, name in enumerate(f"{c}/{n:03d}" for c in ("cat", "dog") for n in range(6)):
        path = root / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    for split, numbers in (("train", range(4)), ("test", range(4, 6))):
        if split in lists:
            rows = (line(c, n) for c in ("cat", "dog") for n in numbers)
            _write(root / f"{split}.txt", above + "".join(f"{row}\n" for row in rows))
    return root


def _is_dog(name: str) -> int:
    return int(name == "dog")


FORMS: dict[str, Line] = {
    "a path of another machine": lambda c, n: (
        f"/home/them/data/images/{c}/{n:03d}.png {_is_dog(c)}"
    ),
    "the folder's own name": lambda c, n: f"pets/images/{c}/{n:03d}.png {_is_dog(c)}",
    "Windows": lambda c, n: f"C:\\data\\images\\{c}\\{n:03d}.png;{_is_dog(c)}",
    "backslashes": lambda c, n: f"images\\{c}\\{n:03d}.png {_is_dog(c)}",
    "the label first": lambda c, n: f"{_is_dog(c)} images/{c}/{n:03d}.png",
    "the label first, a comma": lambda c, n: f"{_is_dog(c)},{c}/{n:03d}.png",
    "quotes": lambda c, n: f'"images/{c}/{n:03d}.png" {_is_dog(c)}',
    "one-hot": lambda c, n: f"{c}/{n:03d}.png {1 - _is_dog(c)} {_is_dog(c)}",
    "one-hot in one": lambda c, n: f"{c}/{n:03d}.png {1 - _is_dog(c)},{_is_dog(c)}",
    "more columns": lambda c, n: f"{c}/{n:03d}.png {_is_dog(c)} 0.5 0.5",
}


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("above", ["", "8\n", "8\nimage_name  label\n", "# by us\n"])
def test_lists_in_other_forms_are_followed_and_their_test_images_are_not_trained_on(
    tmp_path: Path, form: str, above: str
) -> None:
    found = _find(_tree(tmp_path, FORMS[form], above=above))

    assert len(found.classes) == 2
    assert found.understood is not None
    assert found.understood.layout == "lists"
    splits = dict(zip(found.names, found.given_splits, strict=True))
    assert len(splits) == 12
    for name, label, split in zip(found.names, found.labels, found.given_splits, strict=True):
        assert split == ("test" if name.endswith(("004.png", "005.png")) else "train")
        assert int(label) == _is_dog(name.split("/")[-2])


def test_columns_of_flags_are_several_labels(tmp_path: Path) -> None:
    root = _tree(tmp_path, lambda c, n: f"{c}/{n:03d}.png {n % 2} {_is_dog(c)} 1")
    _write(root / "classes.txt", "odd\nbarks\npet\n")

    found = _find(root)

    assert has_several(found.labels)
    assert set(found.classes) == {"odd", "barks", "pet"}
    row = dict(
        zip(found.classes, found.labels[list(found.names).index("dog/001.png")], strict=True)
    )
    assert row == {"odd": 1, "barks": 1, "pet": 1}
    assert found.labels[list(found.names).index("cat/002.png")].sum() == 1


@pytest.mark.parametrize(
    "line", [lambda c, n: f"{n:03d}.png {_is_dog(c)}", lambda c, n: f"lost/{c}-{n}.png"]
)
def test_a_list_whose_images_are_not_found_is_not_passed_over(tmp_path: Path, line: Line) -> None:
    root = _tree(tmp_path, line)

    with pytest.raises(DataError, match=r"lists images that are not below .* --layout folders"):
        _find(root)
    assert len(_find(root, layout="folders").names) == 12


def test_a_list_for_the_test_alone_is_not_passed_over(tmp_path: Path) -> None:
    root = _tree(tmp_path, lambda c, n: f"images/{c}/{n:03d}.png", lists=("test",))

    with pytest.raises(DataError, match="no training split"):
        open_dataset(DataSettings.of({"data": str(root)}), seed=0)


@pytest.mark.parametrize("names", ["0 Katze\n1 Hund\n", "Katze\nHund\n", "1. Hund\n0. Katze\n"])
def test_names_may_stand_behind_their_numbers(tmp_path: Path, names: str) -> None:
    root = _tree(tmp_path, lambda c, n: f"{c}/{n:03d}.png {_is_dog(c)}")
    _write(root / "images/classes.txt", names)

    found = _find(root)

    assert (
        dict(zip(found.names, (found.classes[i] for i in found.labels), strict=True))["dog/001.png"]
        == "Hund"
    )
