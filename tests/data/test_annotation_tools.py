"""Exports of programs for annotation: read as they write them, or named with the way out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection
from ravine.data.settings import DataSettings

NAMES = [f"{number:04d}-a b.png" for number in range(6)]
KINDS = ["cat" if number % 2 else "dog" for number in range(6)]


def _find(data: Path, **settings: object) -> Collection:
    return find_collection(DataSettings.of({"data": str(data), **settings}))


def _images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)


def _label_studio(kinds: list[str]) -> str:
    def task(name: str, kind: str) -> dict[str, Any]:
        result = {"value": {"choices": [kind]}, "from_name": "choice", "type": "choices"}
        return {"annotations": [{"result": [result]}], "data": {"image": f"/data/upload/1/{name}"}}

    return json.dumps([task(*pair) for pair in zip(NAMES, kinds, strict=True)])


def _label_studio_short(kinds: list[str]) -> str:
    pairs = zip(NAMES, kinds, strict=True)
    rows = [{"image": f"/d/{n}", "choice": k, "annotation_id": 1} for n, k in pairs]
    return json.dumps(rows)


def _cvat(kinds: list[str]) -> str:
    rows = [
        f'<image id="0" name="{name}" subset="Train"><tag label="{kind}" source="manual"></tag>'
        "</image>"
        for name, kind in zip(NAMES, kinds, strict=True)
    ]
    return f"<annotations><version>1.1</version>{''.join(rows)}</annotations>"


def _datumaro(kinds: list[str]) -> str:
    items = [
        {
            "id": name[:-4],
            "annotations": [{"type": "label", "label_id": ["cat", "dog"].index(kind)}],
            "image": {"path": name},
        }
        for name, kind in zip(NAMES, kinds, strict=True)
    ]
    labels = [{"name": "cat"}, {"name": "dog"}]
    return json.dumps({"categories": {"label": {"labels": labels}}, "items": items})


def _fiftyone(kinds: list[str]) -> str:
    labels = {n[:-4]: ["cat", "dog"].index(k) for n, k in zip(NAMES, kinds, strict=True)}
    return json.dumps({"classes": ["cat", "dog"], "labels": labels})


def _via(kinds: list[str]) -> str:
    pairs = zip(NAMES, kinds, strict=True)
    rows = {n: {"filename": n, "regions": [], "file_attributes": {"kind": k}} for n, k in pairs}
    return json.dumps(rows)


def _sagemaker(kinds: list[str]) -> str:
    pairs = zip(NAMES, kinds, strict=True)
    rows = [
        {"source-ref": f"s3://b/{n}", "x": 0, "x-metadata": {"class-name": k}} for n, k in pairs
    ]
    return "\n".join(map(json.dumps, rows))


def _vertex(kinds: list[str]) -> str:
    pairs = zip(NAMES, kinds, strict=True)
    rows = [
        {"imageGcsUri": f"gs://b/{n}", "classificationAnnotation": {"displayName": k}}
        for n, k in pairs
    ]
    return "\n".join(map(json.dumps, rows))


EXPORTS: list[tuple[str, Callable[[list[str]], str]]] = [
    ("project-1.json", _label_studio),
    ("short.json", _label_studio_short),
    ("annotations.xml", _cvat),
    ("annotations/default.json", _datumaro),
    ("labels.json", _fiftyone),
    ("via.json", _via),
    ("output.manifest", _sagemaker),
    ("data.jsonl", _vertex),
]
every_export = pytest.mark.parametrize(("name", "write"), EXPORTS, ids=[n for n, _ in EXPORTS])


@every_export
def test_exports_label_the_images_below_them(
    tmp_path: Path, name: str, write: Callable[[list[str]], str]
) -> None:
    _images(tmp_path / "upload" / "1")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(write(KINDS))

    found = _find(tmp_path)

    assert found.understood is not None
    assert found.understood.layout == "annotations"
    labels = {n: found.classes[k] for n, k in zip(found.names, found.labels, strict=True)}
    assert labels == {f"upload/1/{n}": k for n, k in zip(NAMES, KINDS, strict=True)}
    assert set(found.given_splits) == ({"train"} if name.endswith(".xml") else set())


@every_export
def test_exports_that_are_torn_are_one_line(
    tmp_path: Path, name: str, write: Callable[[list[str]], str]
) -> None:
    _images(tmp_path / "images")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    whole = write(KINDS)
    chance = np.random.default_rng(0)
    for _ in range(12):
        text = list(whole)
        at = int(chance.integers(len(text)))
        text[at : at + int(chance.integers(1, 30))] = ']}"0<'[int(chance.integers(5))]
        (tmp_path / name).write_text("".join(text))
        said = ""
        try:
            _find(tmp_path, layout="annotations")
        except DataError as error:
            said = str(error)
        assert "\n" not in said  # and nothing else is raised


def test_several_tags_are_several_labels_and_boxes_are_none(tmp_path: Path) -> None:
    _images(tmp_path / "images")
    export = tmp_path / "annotations.xml"
    export.write_text(_cvat(KINDS).replace("</image>", '<tag label="wet"/></image>', 2))

    found = _find(tmp_path)
    assert found.classes == ("cat", "dog", "wet")
    assert found.labels.sum(axis=1).tolist() == [2, 2, 1, 1, 1, 1]
    export.write_text(_cvat(KINDS).replace("<tag ", "<box "))
    with pytest.raises(DataError, match=r"gives no image a class|no class folders"):
        _find(tmp_path)
    export.write_text(_cvat(KINDS).replace("0003", "0009"))
    with pytest.raises(DataError, match=r"'0009-a b.png' is not in .*--images FOLDER"):
        _find(tmp_path)


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ('{"shapes": [], "imagePath": "a.png"}', "LabelMe"),
        ('{"data_row":{}, "projects":{}}', "box"),
    ],
)
def test_exports_that_are_not_read_are_named(tmp_path: Path, text: str, program: str) -> None:
    _images(tmp_path / "d")
    (tmp_path / "d" / "0000.json").write_text(text)

    with pytest.raises(DataError, match=rf"0000.json is of .*{program}.*--labels FILE.csv"):
        _find(tmp_path / "d")
