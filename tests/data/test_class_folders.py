"""Class folders as people have them: at any depth, with splits anywhere, with other things beside.

The cases 01, 03, 08, 18, 25 of the field: each with the right value, or refused with a remedy that
works when it is followed.
"""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ravine.core.errors import DataError, RavineError, SettingError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.sources.class_tree import read_class_tree

Tree = Callable[..., Path]


def _find(data: Path | str, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _open(data: Path | str, **settings: object):  # type: ignore[no-untyped-def]
    return open_dataset(DataSettings.of({"data": str(data), **settings}), seed=0)


def _files(root: Path, names: list[str]) -> Path:
    """Makes files by name; what they hold is read by no test here."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    return root


def _counts(found: Collection) -> dict[str | None, Counter[str]]:
    """Returns the number of images of each class, by split."""
    given = found.given_splits or [None] * len(found.names)
    counts: dict[str | None, Counter[str]] = {}
    for split, label in zip(given, found.labels, strict=True):
        counts.setdefault(split, Counter())[found.classes[label]] += 1
    return counts


def _line(found: Collection) -> str:
    assert found.understood is not None
    return found.understood.line()


def _each(folders: dict[str, int]) -> list[str]:
    return [f"{folder}/{n}.png" for folder, count in folders.items() for n in range(count)]


@pytest.mark.parametrize(
    ("folders", "classes", "splits"),
    [
        # case 03: prefixed names, doubled folders, an unlabelled third
        (
            {
                **{f"seg_train/seg_train/{c}": 5 for c in ("sea", "street")},
                **{f"seg_test/seg_test/{c}": 2 for c in ("sea", "street")},
                "seg_pred/seg_pred": 3,
            },
            ("sea", "street"),
            {"train": 10, "test": 4},
        ),
        (
            {
                f"{s}_set/{s}_set/{c}": n
                for s, n in (("training", 4), ("test", 2))
                for c in ("cats", "dogs")
            },
            ("cats", "dogs"),
            {"train": 8, "test": 4},
        ),
        (
            {f"images/{s}/{c}": 3 for s in ("train", "validation") for c in ("angry", "sad")},
            ("angry", "sad"),
            {"train": 6, "validation": 6},
        ),
        (
            {f"{s}2017/{c}": 2 for s in ("train", "val") for c in ("a", "b")},
            ("a", "b"),
            {"train": 4, "validation": 4},
        ),
        ({f"{c}/{s}": 2 for s in ("train", "test") for c in ("cat", "dog")}, ("cat", "dog"), {}),
        ({f"Train/{c}": 2 for c in "ab"} | {"test-set/a": 1}, ("a", "b"), {"train": 4, "test": 1}),
        (
            {
                **{f"Final_Training/Images/{c}": 2 for c in ("00000", "00001")},
                "Final_Test/Images": 3,
            },
            ("00000", "00001"),
            {"train": 4},
        ),
        (
            {"development/a": 2, "development/b": 2, "evaluation/a": 2, "evaluation/b": 2},
            ("a", "b"),
            {},
        ),
        (
            {f"{split}/{c}": 2 for split in ("train", "dev", "eval") for c in "ab"},
            ("a", "b"),
            {"train": 4, "validation": 4, "test": 4},
        ),
    ],
)
def test_splits_are_found_as_words_anywhere_in_a_path(
    tmp_path: Path, folders: dict[str, int], classes: tuple[str, ...], splits: dict[str, int]
) -> None:
    found = _find(_files(tmp_path / "d", _each(folders)))

    assert found.classes == classes
    sizes = {split: sum(counts.values()) for split, counts in _counts(found).items()}
    assert sizes == (splits or {"train": 4, "test": 4})
    assert len(found.unlabelled) == sum(folders.values()) - sum(sizes.values())


def test_what_is_unlabelled_next_to_the_splits_is_left_out_and_said(tmp_path: Path) -> None:
    folders = {"train/cat": 3, "train/dog": 3, "test": 4, "val/cat": 1, "val/dog": 1}

    found = _find(_files(tmp_path / "d", _each(folders)))

    assert "left out: 4 unlabelled in test/" in _line(found)
    assert "train train/, validation val/" in _line(found)


@pytest.mark.parametrize(
    ("folders", "settings", "classes"),
    [
        ({"bus": 3, "car": 3, "train": 3}, {}, ("bus", "car", "train")),
        ({"bus": 3, "car": 3, "test": 3}, {"class_level": "1"}, ("bus", "car", "test")),
        ({"valid": 3, "invalid": 3}, {"class_level": "1"}, ("invalid", "valid")),
        ({"test_tube": 2, "beaker": 2}, {}, ("beaker", "test_tube")),
        ({"development": 2, "forest": 2}, {}, ("development", "forest")),
        ({"bus/a": 2, "car/b": 2, "train/c": 2}, {"class_level": "1"}, ("bus", "car", "train")),
    ],
)
def test_a_class_may_have_the_name_of_a_split(
    tmp_path: Path, folders: dict[str, int], settings: dict[str, str], classes: tuple[str, ...]
) -> None:
    found = _find(_files(tmp_path / "d", _each(folders)), **settings)

    assert found.classes == classes
    assert found.given_splits == ()


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"bus": 3, "car": 3, "test": 3}, r"test/ with images next to bus/: if it is a class: "),
        ({"valid": 3, "invalid": 3}, r"if it is a class: --class-level 1; if it is the validation"),
        ({"fold1/a": 2, "fold1/b": 2, "fold2/a": 2, "fold2/b": 2}, "are folds.*--class-level 2"),
        ({"fold1": 4, "fold2": 4}, "are folds and hold no class folders"),
        (
            {"x/a": 2, "x/b": 2, "y/a": 2, "y/b": 2},
            r"x, y \(--class-level 1\), or a, b .*--class-level leaf",
        ),
        ({"cat": 2, "birds/owl": 2, "birds/jay": 2}, "if birds is a class: --class-level 1;"),
        ({"train/a/train": 2, "train/a/test": 2, "test/b": 2}, "names two splits, train and test"),
        (
            {"train/cat": 2, "train/dog": 2, "val/Katze": 1, "val/Hund": 1},
            "no classes of the training",
        ),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_the_option_for_each(
    tmp_path: Path, folders: dict[str, int], message: str
) -> None:
    root = _files(tmp_path / "d", _each(folders))

    with pytest.raises(DataError, match=message) as caught:
        _find(root)
    assert len(str(caught.value).replace(str(root), "d")) <= 200
    for level in re.findall(r"--class-level (\w+)", str(caught.value)):
        assert len(_find(root, class_level=level).classes) >= 2


@pytest.mark.parametrize(
    ("folders", "level", "classes"),
    [
        # case 08: the leaf where the outer level only sorts; below the letters of SUN397
        (
            {"Birds/Corvus": 4, "Birds/Pica": 4, "Plants/Rosa": 4, "Plants/Bellis": 4},
            None,
            ("Bellis", "Corvus", "Pica", "Rosa"),
        ),
        ({"Birds/Corvus": 4, "Birds/Pica": 4, "Plants/Rosa": 4}, "1", ("Birds", "Plants")),
        (
            {"a/abbey": 2, "a/airport/indoor": 2, "b/beach": 2},
            None,
            ("abbey", "airport/indoor", "beach"),
        ),
        ({"x/abbey": 2, "x/airport/indoor": 2}, "2+", ("abbey", "airport/indoor")),
        ({"cat/2019": 2, "cat/2020": 2, "dog/2019": 2}, None, ("cat", "dog")),
        ({"part1/cat": 2, "part2/cat": 2, "part2/dog": 2}, None, ("cat", "dog")),
        ({"cat/images": 2, "dog/images": 2}, None, ("cat", "dog")),
        ({"cat": 2, "cat/kitten": 2, "dog": 2}, None, ("cat", "dog")),
        ({"cat": 2, "cat/kitten": 2, "dog": 2}, "leaf", ("cat", "dog", "kitten")),
        ({"train/Birds/a": 2, "train/Birds/b": 2, "train/Fish/c": 2}, "2", ("Birds", "Fish")),
        ({"x/a": 2, "x/b": 2, "y/a": 2, "y/b": 2}, "leaf", ("a", "b")),
        ({"fold1/a": 2, "fold1/b": 2, "fold2/a": 2}, "2", ("a", "b")),
    ],
)
def test_the_class_is_the_leaf_or_the_level_that_is_named(
    tmp_path: Path, folders: dict[str, int], level: str | None, classes: tuple[str, ...]
) -> None:
    found = _find(_files(tmp_path / "d", _each(folders)), class_level=level)

    assert found.classes == classes
    assert len(found.names) == sum(folders.values())


def test_the_line_says_the_other_reading_and_its_option(tmp_path: Path) -> None:
    root = _files(tmp_path / "d", _each({"Birds/crow": 2, "Birds/jay": 2, "Plants/rose": 2}))

    line = _line(_find(root))

    assert (
        "classes: leaf folders, 3 (not the 2 folders above, Birds, Plants: --class-level 1)" in line
    )


@pytest.mark.parametrize("level", ["0", "first", "-1", "1.5", "leafs", "3 "])
def test_a_level_that_is_none_is_refused(tmp_path: Path, level: str) -> None:
    root = _files(tmp_path / "d", _each({"a": 2, "b": 2}))

    with pytest.raises(SettingError, match="wanted is a level counted from 1 below DATA"):
        _find(root, class_level=level)


def test_a_level_that_no_folder_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder with images at --class-level 4"):
        _find(_files(tmp_path / "d", _each({"a": 2, "b": 2})), class_level="4")


@pytest.mark.parametrize("folders", [{"val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2}])
def test_test_images_are_never_trained_on(tmp_path: Path, folders: dict[str, int]) -> None:
    root = _files(tmp_path / "d", _each(folders))

    with pytest.raises(DataError, match="has no training split, only test and validation"):
        _open(root)
    assert _counts(_find(root))["test"] == {"a": 2, "b": 2}  # for an evaluation


# Case 01: no class folders in the splits.


@pytest.mark.parametrize(
    ("names", "form", "classes"),
    [
        ([f"{c}.{n}.jpg" for c in ("cat", "dog") for n in range(20)], "before-dot", ("cat", "dog")),
        (
            [f"{c}_{n}.JPEG" for c in ("n01440764", "n01443537") for n in range(9)],
            "before-last-underscore",
            ("n01440764", "n01443537"),
        ),
        (
            [f"{c}_{n}.jpg" for c in ("Abyssinian", "great_pyrenees") for n in range(9)],
            "before-last-underscore",
            ("Abyssinian", "great_pyrenees"),
        ),
        (
            [f"{c} ({n}).jpg" for c in ("rock", "paper") for n in range(9)],
            "before-number",
            ("paper", "rock"),
        ),
    ],
)
def test_labels_in_names_are_proposed_and_the_proposal_works(
    tmp_path: Path, names: list[str], form: str, classes: tuple[str, ...]
) -> None:
    tests = [f"test/{n}.jpg" for n in range(10)]
    root = _files(tmp_path / "d", [f"train/{name}" for name in names] + tests)

    with pytest.raises(DataError, match="hold images but no class folders") as caught:
        _find(root)
    proposed = re.search(r"--label-from-name ([\w-]+)", str(caught.value))

    assert proposed is not None
    assert proposed[1] == form
    found = _find(root, label_from_name=form)
    assert found.classes == classes
    assert set(found.given_splits) == {"train"}
    assert len(found.unlabelled) == 10


def test_tests_whose_names_hold_no_class_of_training_are_unlabelled(tmp_path: Path) -> None:
    names = [f"train/{c}_{n}.JPEG" for c in ("n01440764", "n01443537") for n in range(9)]
    root = _files(tmp_path / "d", names + [f"test/ILSVRC_{n}.JPEG" for n in range(3)])

    with pytest.raises(DataError, match="--label-from-name before-last-underscore"):
        _find(root)
    found = _find(root, label_from_name="before-last-underscore")

    assert found.classes == ("n01440764", "n01443537")
    assert len(found.unlabelled) == 3
    assert "2 (not 'ILSVRC', in test alone)" in _line(found)
    assert "left out: 3 unlabelled in test/" in _line(found)


def test_tests_of_which_some_have_a_class_of_training_keep_theirs(tmp_path: Path) -> None:
    names = [f"train/{c}_{n}.png" for c in ("Cat", "dog") for n in range(9)]
    root = _files(tmp_path / "d", [*names, "test/cat_1.png", "test/dog_2.png"])
    found = _find(root, label_from_name="before-last-underscore")
    assert _counts(found)["test"] == {"Cat": 1, "dog": 1}


def test_a_pattern_of_the_users_own_finds_the_label(tmp_path: Path) -> None:
    names = [f"{n:03d}-{c}-x.png" for n in range(4) for c in ("cat", "dog")]
    root = _files(tmp_path / "d", names)

    assert _find(root, label_from_name=r"-(\w+)-").classes == ("cat", "dog")
    with pytest.raises(SettingError, match="one group in brackets"):
        _find(root, label_from_name=r"-\w+-")
    with pytest.raises(SettingError, match="no regular expression"):
        _find(root, label_from_name="(")
    with pytest.raises(DataError, match=r"none of 8 names in .* has a label by it"):
        _find(root, label_from_name="(zebra)")


def test_flat_splits_with_names_that_say_nothing_are_refused_with_a_remedy(tmp_path: Path) -> None:
    names = [f"{split}/{n}.png" for split in ("train", "test") for n in range(5)]

    with pytest.raises(DataError, match=r"no class folders; sort them .*--labels train.csv"):
        _find(_files(tmp_path / "d", names))


@pytest.mark.parametrize("where", ["train.csv", "train/labels.csv"])
def test_the_table_that_lies_there_is_named_and_the_command_works(
    tmp_path: Path, where: str
) -> None:
    names = [f"train/p{n}.png" for n in range(6)] + [f"test/{n}.png" for n in range(3)]
    root = _files(tmp_path / "d", names)
    rows = [f"p{n},{'cat' if n % 2 else 'dog'}" for n in range(6)]
    (root / where).write_text("image_id,label\n" + "\n".join(rows))

    with pytest.raises(DataError, match="labels them: ravine train") as caught:
        _find(root)
    command = re.search(r"ravine train (\S+) --labels (\S+)", str(caught.value))

    assert command is not None
    found = _find(command[1], labels=command[2])
    assert found.classes == ("cat", "dog")
    assert len(found.names) == 6


# Case 18: folders that are no classes.


def test_folders_of_programs_are_passed_over_and_said(tmp_path: Path) -> None:
    root = _files(tmp_path / "d", [*_each({"cat": 3, "dog": 3}), "__MACOSX/cat/._0.png"])
    _files(root, ["cat/.ipynb_checkpoints/0-checkpoint.png", ".hidden/0.png"])

    found = _find(root)

    assert found.classes == ("cat", "dog")
    assert len(found.names) == 6
    assert "left out: 2 folders __MACOSX/, cat/.ipynb_checkpoints/" in _line(found)


def test_classes_in_images_next_to_folders_of_text_are_read(tmp_path: Path) -> None:
    names = [*_each({"images/apple": 3, "images/pie": 3}), "meta/train.txt", "meta/test.json"]

    found = _find(_files(tmp_path / "d", names))

    assert found.classes == ("apple", "pie")
    assert "classes: folders of images/, 2" in _line(found)
    assert "1 folder meta/" in _line(found)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [f"{s}/{k}/{n}.{e}" for s in ("train", "valid") for k, e in (("images", "png"),
             ("labels", "txt")) for n in range(3)],
            r"laid out for detection \(YOLO",
        ),
        (
            [f"{k}/{s}/{n}.{e}" for s in ("train", "val") for k, e in (("images", "png"),
             ("labels", "txt")) for n in range(3)],
            r"laid out for detection \(YOLO",
        ),
        (
            [f"{k}/{n}.{e}" for k, e in (("JPEGImages", "jpg"), ("Annotations", "xml"))
             for n in range(3)],
            r"is no whole annotation of Pascal VOC",
        ),
        ([f"{k}/{n}.png" for k in ("images", "masks") for n in range(3)], "for segmentation"),
    ],
)  # fmt: skip
def test_layouts_of_other_tasks_are_refused_by_name(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _find(_files(tmp_path / "d", names))


def test_masks_next_to_images_with_labels_in_their_names_give_a_command_that_works(
    tmp_path: Path,
) -> None:
    names = [f"images/{c}_{n}.jpg" for c in ("Abyssinian", "beagle") for n in range(5)]
    names += [
        f"annotations/trimaps/{c}_{n}.png" for c in ("Abyssinian", "beagle") for n in range(5)
    ]

    with pytest.raises(DataError, match="segmentation") as caught:
        _find(_files(tmp_path / "d", names))
    command = re.search(r"ravine train (\S+) --label-from-name (\S+)", str(caught.value))

    assert command is not None
    assert _find(command[1], label_from_name=command[2]).classes == ("Abyssinian", "beagle")


def test_an_empty_class_folder_is_refused_and_one_of_another_format_named(tmp_path: Path) -> None:
    root = _files(tmp_path / "d", [*_each({"cat": 3, "dog": 3}), "owl/a.nef", "owl/b.nef"])
    with pytest.raises(DataError, match=r"class folder 'owl' holds 2 \.nef and no image"):
        _find(root)
    (root / "owl" / "a.nef").unlink()
    (root / "owl" / "b.nef").unlink()
    with pytest.raises(DataError, match="class folder 'owl' holds no image; add images or remove"):
        _find(root)


# Case 25: formats that are not read.


def test_raw_files_and_files_without_an_ending_are_counted_and_said(tmp_path: Path) -> None:
    names = [*_each({"cat": 3, "dog": 3}), *(f"cat/{n}.nef" for n in range(5))]
    names += ["dog/one", "dog/two", "notes.txt"]

    line = _line(_find(_files(tmp_path / "d", names)))

    assert "left out: 5 .nef (convert them to .jpg or .png), 2 without an ending, 1 .txt" in line


def test_a_folder_of_raw_only_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 4 \.nef files and no image that Ravine reads"):
        _find(_files(tmp_path / "d", [f"{c}/{n}.nef" for c in "ab" for n in range(2)]))


def test_a_pipe_and_a_link_to_itself_do_no_harm(tree: Tree) -> None:
    root = tree({"cat": 3, "dog": 3})
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "dog" / "loop").symlink_to(root / "dog" / "loop")

    assert len(_find(root).names) == 6


def test_a_line_about_a_tree_has_at_most_200_letters(tmp_path: Path) -> None:
    names = _each({f"group{n}/a class with a long name {n}" + "x" * 60: 2 for n in range(30)})
    names += [f"meta {n}{'y' * 60}/a.txt" for n in range(30)]
    found = _find(_files(tmp_path / "d", names))

    assert found.understood is not None
    assert len(_line(found)) <= 200
    assert found.understood.to_json()["left_out"][-1].startswith("30 folders")


def test_the_order_of_images_is_that_of_names(tmp_path: Path) -> None:
    names = ["test/a/0.png", "train/a/1.png", "train/a/sub/0.png", "train/b/0.png", "train/b/1.png"]

    assert list(_find(_files(tmp_path / "d", names)).names) == names


def test_no_tree_ends_in_a_traceback(tmp_path: Path) -> None:
    for number, names in enumerate((["a.png"], ["a/b.png"], ["train/a.png"], ["test/a/b.png"], [])):
        root = tmp_path / str(number)
        root.mkdir()
        with pytest.raises(RavineError):
            _open(_files(root, names))


def test_many_classes_take_time_by_their_number_only(
    least_seconds: Callable[[Callable[[], object]], float],
) -> None:
    def seconds(count: int) -> float:
        folders = [("d", f"class {n}") for n in range(count)]
        return least_seconds(lambda: read_class_tree(folders, "d", None))

    assert seconds(5000) < 40 * seconds(500)  # quadratic: 100 times


def test_a_run_folder_is_no_data_and_its_pictures_are_no_classes(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a"
    for name in ("mistakes", "pictures"):
        (run / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(run / name / f"{number}.png")
    assert find_collection(DataSettings.of({"data": str(run)})).classes == ("mistakes", "pictures")
    for name in ("recipe.toml", "environment.json"):
        (run / name).touch()

    for data, said in ((run, "is a run and no data; .*--recipe"), (run.parent, "holds a run, a/")):
        with pytest.raises(DataError, match=said):
            find_collection(DataSettings.of({"data": str(data)}))
