"""Several labels per image: found in folders, lists and arrays, divided, mixed and drawn."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ravine.core.errors import DataError, SettingError
from ravine.data.augment_settings import AugmentSettings
from ravine.data.batches import TrainingBatches, positive_weights
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.label_sets import described_label, label_rows, rarest_label
from ravine.data.label_shares import divide, folds_of, hold_out
from ravine.data.mixing import cutmix, mixup
from ravine.data.opening import open_dataset
from ravine.data.settings import DataSettings
from ravine.data.split import split_images

Tree = Callable[..., Path]


def _find(data: Path, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _labels(seed: int, count: int, shares: list[float]) -> np.ndarray:
    return (np.random.default_rng(seed).random((count, len(shares))) < shares).astype(np.uint8)


def test_a_file_in_two_class_folders_is_one_image_of_both_where_several_are_asked_for(
    tree: Tree,
) -> None:
    root = tree({"cat": 6, "dog": 6})
    shutil.copy(root / "cat/000.png", root / "dog/another name.png")

    one, several = _find(root), _find(root, labels_per_image="several")

    assert one.labels.tolist() == [0] * 6 + [1] * 7
    assert len(several.names) == 12
    both = [name for name, row in zip(several.names, several.labels, strict=True) if row.all()]
    assert both == ["cat/000.png"]
    assert several.understood is not None
    assert "1 copies in other classes" in several.understood.line()


def test_such_a_file_is_named_with_the_option_and_never_merged_in_silence(tree: Tree) -> None:
    root = tree({"cat": 6, "dog": 6})
    shutil.copy(root / "cat/000.png", root / "dog/another name.png")

    found = open_dataset(DataSettings(data=str(root)), seed=0)

    assert not found.several
    assert found.audit["conflicts"][0]["labels"] == ["cat", "dog"]


def test_labels_that_all_images_have_are_nothing_to_learn(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((6, 8, 8), np.uint8), y=np.ones((6, 4), np.uint8))

    with pytest.raises(DataError, match="every image has the same labels"):
        open_dataset(DataSettings(data=str(tmp_path / "a.npz")), seed=0)


def test_equal_names_in_two_folders_are_two_images(tree: Tree) -> None:
    found = _find(tree({"cat": 3, "dog": 3}), labels_per_image="several")

    assert found.labels.tolist() == [[1, 0]] * 3 + [[0, 1]] * 3


def test_lists_of_labels_in_jsonl_are_several(tree: Tree) -> None:
    root = tree({"images": 4})
    rows = [
        {"file_name": f"images/{n:03d}.png", "labels": labels}
        for n, labels in enumerate([["a", "b"], [], ["b"], ["a"]])
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))

    found = _find(root)

    assert (found.classes, found.labels.tolist()) == (("a", "b"), [[1, 1], [0, 0], [0, 1], [1, 0]])


def voc(root: Path, objects: dict[str, list[tuple[str, int]]]) -> Path:
    """Writes a year of Pascal VOC: of each image (name, difficult) of its objects."""
    for name, found in objects.items():
        text = "".join(
            f"<object><name>{kind}</name><bndbox><xmin>1</xmin></bndbox>"
            f"<difficult>{hard}</difficult></object>"
            for kind, hard in found
        )
        (root / "Annotations").mkdir(parents=True, exist_ok=True)
        (root / f"Annotations/{name}.xml").write_text(f"<annotation>{text}</annotation>")
        (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name) + ord(name[0])).integers(0, 256, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"JPEGImages/{name}.jpg")
    return root


def test_the_objects_of_pascal_voc_are_labels_but_for_difficult_ones(tmp_path: Path) -> None:
    objects = {
        "a": [("dog", 0), ("dog", 0), ("cat", 0)],
        "b": [("cat", 0), ("dog", 1)],
        "c": [],
        "d": [("dog", 0)],
        "e": [("cat", 0)],
    }
    root = voc(tmp_path / "VOCdevkit/VOC2007", objects)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\n")
    (root / "ImageSets/Main/val.txt").write_text("d\n")

    for data in (root, root.parent):
        found = _find(data)
        assert found.classes == ("cat", "dog")
        assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {
            "a.jpg": [1, 1],
            "b.jpg": [1, 0],
            "c.jpg": [0, 0],
            "d.jpg": [0, 1],
        }
        assert found.given_splits == ["train", "train", "train", "validation"]
        assert found.understood is not None
        assert found.understood.left_out == ("boxes and masks", "1 difficult objects")
    with pytest.raises(DataError, match=r"a.xml: the image has 2 kinds of objects; leave out"):
        _find(root, labels_per_image="one")


def test_one_kind_of_object_in_each_image_is_its_class(tmp_path: Path) -> None:
    found = _find(voc(tmp_path, {"a": [("cat", 0)] * 2, "b": [("dog", 0)]}))

    assert found.labels.tolist() == [0, 1]


def test_a_torn_annotation_is_named(tmp_path: Path) -> None:
    root = voc(tmp_path, {"a": [("cat", 0)], "b": [("dog", 0)]})
    (root / "Annotations/b.xml").write_text("<annotation><object><name>do")

    with pytest.raises(DataError, match=r"b.xml is no whole annotation"):
        _find(root)


def test_a_class_of_its_own_is_no_label_of_several(tree: Tree) -> None:
    root = tree({"only": 3})
    (root / "t.csv").write_text(
        "image,a\n" + "\n".join(f"only/{n:03d}.png,{['x', ''][n % 2]}" for n in range(3))
    )
    settings = DataSettings(data=str(root / "t.csv"), labels_per_image="several", label_column="a")

    with pytest.raises(DataError, match=r"holds one label only, 'x'"):
        open_dataset(settings, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_validation_keeps_the_share_of_each_label(seed: int) -> None:
    labels = _labels(seed, 800, [0.5, 0.2, 0.05, 0.02])
    identity = [b"%d" % n for n in range(len(labels))]

    found = split_images(
        labels, np.ones(800, bool), identity, (), share=0.1, seed=seed, classes="abcd"
    )

    held, total = labels[found["validation"]].sum(0), labels.sum(0)
    assert abs(len(found["validation"]) - 80) <= 4
    assert (np.abs(held - 0.1 * total) <= 2).all()
    # By chance alone the rarest label would often be missing: here it is not.
    assert held.min() >= 1


def test_groups_stay_together_and_every_label_is_trained_on() -> None:
    labels = _labels(1, 200, [0.4, 0.1, 0.03])
    labels[0, 2] = 1
    identity = [b"%d" % (n // 5) for n in range(200)]

    held = hold_out(labels, identity, share=0.2, seed=0)

    for start in range(0, 200, 5):
        assert held[start : start + 5].all() or not held[start : start + 5].any()
    assert (labels[~held].sum(0) >= 1).all()
    assert 20 <= held.sum() <= 60


def test_a_label_of_one_image_is_trained_on_and_not_held_out() -> None:
    labels = np.zeros((20, 2), np.uint8)
    labels[:, 0] = 1
    labels[7, 1] = 1
    identity = [b"%d" % n for n in range(20)]

    assert not hold_out(labels, identity, share=0.5, seed=0)[7]
    assert folds_of(labels, identity, folds=4, seed=0)[7] == 0


def test_folds_hold_each_image_once_with_equal_shares() -> None:
    labels = _labels(2, 300, [0.5, 0.2, 0.1])
    identity = [b"%d" % n for n in range(300)]

    found = folds_of(labels, identity, folds=3, seed=0)

    assert np.bincount(found, minlength=4)[1:].tolist() == [100, 100, 100]
    per_fold = np.array([labels[found == fold].sum(0) for fold in (1, 2, 3)])
    assert (per_fold.max(0) - per_fold.min(0) <= 2).all()
    assert not np.array_equal(found, folds_of(labels, identity, folds=3, seed=1))


def test_images_without_a_label_are_divided_too() -> None:
    labels = np.zeros((100, 2), np.uint8)
    labels[:10] = 1

    found = divide(labels, [b"%d" % n for n in range(100)], shares=[0.8, 0.2], seed=0)

    assert (found == 1).sum() == 20
    assert (found[:10] == 1).sum() == 2


def test_mixed_images_have_the_mean_of_both_rows_of_labels() -> None:
    images = torch.rand(4, 1, 8, 8)
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=torch.uint8)

    _, targets = mixup(images, labels, 3, lam=0.25)
    assert torch.allclose(targets, 0.25 * labels + 0.75 * labels.flip(0).float())

    _, areas = cutmix(images, labels, 3, lam=0.75, centre=(0.5, 0.5))
    assert torch.allclose(areas, 0.75 * labels + 0.25 * labels.flip(0).float())


def test_a_batch_has_rows_of_labels_as_targets_and_cannot_be_balanced_by_drawing(
    tree: Tree,
) -> None:
    root = tree({"images": 12})
    rows = [f"images/{n:03d}.png,{n % 2},{int(n % 3 == 0)}" for n in range(12)]
    (root / "t.csv").write_text("image,a,b\n" + "\n".join(rows))
    dataset = open_dataset(DataSettings(data=str(root / "t.csv"), validation=0.0), seed=0)
    options = {"batch": 12, "seed": 0, "device": torch.device("cpu")}

    batch = TrainingBatches(dataset, AugmentSettings(augment="none"), **options).batch_at(0)

    assert batch.targets.dtype == torch.float32
    assert torch.equal(batch.targets, batch.labels.float())
    assert batch.targets.sum(0).tolist() == [6, 4]
    with pytest.raises(SettingError, match="balance sample: an image of several labels"):
        TrainingBatches(dataset, AugmentSettings(), **options, balance="sample")


def test_weights_of_positives_are_the_negatives_over_the_positives() -> None:
    labels = _labels(3, 50, [0.5, 0.1])
    labels = np.hstack([labels, np.zeros((50, 1), np.uint8)])

    found = positive_weights(labels).tolist()

    for k in (0, 1):
        positives = int(labels[:, k].sum())
        assert found[k] == pytest.approx((50 - positives) / positives)
    assert found[2] == 1.0


def test_rows_and_names_of_labels_are_each_others_inverse() -> None:
    for names in itertools.chain.from_iterable(
        itertools.combinations("abc", count) for count in range(4)
    ):
        (row,) = label_rows([names], "abc")
        assert described_label(row, "abc") == (", ".join(names) or "no label")


def test_the_rarest_label_stands_for_an_image() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0]], np.uint8)

    assert rarest_label(labels).tolist() == [1, 0, 2, 3, 1]
