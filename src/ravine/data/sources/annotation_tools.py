"""What programs for annotation export, with classes for whole images.

    Label Studio   JSON: [{"data": {"image": …}, "annotations": [{"result": [{"value": {"choices":
    CVAT           annotations.xml: <image name="…"><tag label="…">
    Datumaro       annotations/default.json: {"items": [{"annotations": [{"label_id":
    FiftyOne       labels.json: {"classes": […], "labels": {"name": 0, …}}
    VIA            JSON: {"…": {"filename": …, "file_attributes": {"class": …}}}
    SageMaker      .manifest: {"source-ref": "s3://…", …, "…-metadata": {"class-name": …}}
    Vertex AI      .jsonl: {"imageGcsUri": …, "classificationAnnotation": {"displayName":

The paths are those of another machine: an image is found by its name below the folder. Where an
image has several classes, its labels are all of them; boxes and shapes are not read.

Shape letters: N images.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path, PurePosixPath
from typing import Any

from ravine.core.errors import DataError
from ravine.core.json_text import parse_json
from ravine.core.progress import Progress
from ravine.core.regular_file import open_regular
from ravine.data.collection import Collection
from ravine.data.location import expand_path
from ravine.data.settings import DataSettings
from ravine.data.sources.image_index import ImageIndex
from ravine.data.sources.listed_images import (
    ListedImage,
    ListMeaning,
    collect_listed,
    read_text,
)

_LAYOUT = "annotations"
_HEAD = 1 << 13
_MOST_FILES = 20
_LARGEST = 1 << 30
_LONGEST = 1 << 12  # letters of an element


@dataclass(frozen=True, slots=True)
class _Said:
    """What an export says of one image: its name, its classes and its split."""

    image: str
    labels: tuple[str, ...]
    split: str | None = None


@dataclass(frozen=True, slots=True)
class _Tool:
    """A program, the words by which its file is known, and how that is read."""

    name: str
    endings: tuple[str, ...]
    marks: tuple[str, ...]
    read: Callable[[str], Iterable[_Said]]
    without: tuple[str, ...] = field(default=())


def _label_studio(text: str) -> Iterator[_Said]:
    for task in _rows(parse_json(text)):
        done = [one for one in _rows(task.get("annotations", [])) if not one.get("was_cancelled")]
        labels = [
            choice
            for one in done[:1]
            for result in _rows(one.get("result", []))
            for choice in result.get("value", {}).get("choices", [])
        ]
        yield _Said(_image_of(task["data"]), tuple(map(str, labels)))


def _image_of(data: Mapping[str, Any]) -> str:
    """Returns the image of a task: its value is a path or an address with an image's ending."""
    return str(data["image"] if "image" in data else next(iter(data.values())))


def _label_studio_short(text: str) -> Iterator[_Said]:
    for row in _rows(parse_json(text)):
        choice = row["choice"]
        choices = choice.get("choices", []) if isinstance(choice, dict) else [choice]
        yield _Said(str(row["image"]), tuple(map(str, choices)))


def _cvat(text: str) -> Iterator[_Said]:
    subsets = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
    for part in text.split("<image ")[1:]:
        head, _, rest = part.partition(">")
        body = "" if head.endswith("/") else rest.partition("</image>")[0]
        facts = _attributes(head)
        tags = (_attributes(tag)["label"] for tag in body.split("<tag ")[1:])
        yield _Said(facts["name"], tuple(tags), subsets.get(facts.get("subset", "").lower()))


def _attributes(text: str) -> dict[str, str]:
    """Returns the attributes of an element that begins a text, without its name."""
    pairs = re.findall(r'([\w-]+)="([^"]*)"', text.partition(">")[0][:_LONGEST])
    return {name: unescape(value) for name, value in pairs}


def _datumaro(text: str) -> Iterator[_Said]:
    content = parse_json(text)
    names = [str(one["name"]) for one in content["categories"]["label"]["labels"]]
    for item in _rows(content["items"]):
        of_image = [one for one in _rows(item.get("annotations", [])) if one["type"] == "label"]
        labels = tuple(names[one["label_id"]] for one in of_image)
        yield _Said(str(item.get("image", {}).get("path") or item["id"]), labels)


def _fiftyone(text: str) -> Iterator[_Said]:
    content = parse_json(text)
    names = content.get("classes")
    for image, label in content["labels"].items():
        labels = label if isinstance(label, list) else [label]
        known = [names[one] if names and isinstance(one, int) else one for one in labels]
        yield _Said(str(image), tuple(map(str, known)))


def _via(text: str) -> Iterator[_Said]:
    content = parse_json(text)
    for row in content.get("_via_img_metadata", content).values():
        said = [value for value in row["file_attributes"].values() if value]
        labels = [k for one in said for k in (one if isinstance(one, dict) else {one: True})]
        yield _Said(str(row["filename"]), tuple(map(str, labels)))


def _sagemaker(text: str) -> Iterator[_Said]:
    for row in map(parse_json, text.splitlines()):
        of_label = [v for k, v in row.items() if k.endswith("-metadata") and "class-name" in v]
        several = [v for k, v in row.items() if k.endswith("-metadata") and "class-map" in v]
        labels = [str(one["class-name"]) for one in of_label]
        labels += [str(name) for one in several for name in one["class-map"].values()]
        yield _Said(str(row["source-ref"]), tuple(labels))


def _vertex(text: str) -> Iterator[_Said]:
    uses = {"training": "train", "validation": "validation", "test": "test"}
    for row in map(parse_json, text.splitlines()):
        one = row.get("classificationAnnotation")
        labels = [one] if one else row.get("classificationAnnotations", [])
        use = row.get("dataItemResourceLabels", {}).get("aiplatform.googleapis.com/ml_use", "")
        names = tuple(str(label["displayName"]) for label in labels)
        yield _Said(str(row["imageGcsUri"]), names, uses.get(str(use)))


_TOOLS = (
    _Tool("Label Studio", (".json",), ('"annotations"', '"result"', '"data"'), _label_studio),
    _Tool("Label Studio", (".json",), ('"annotation_id"', '"choice"'), _label_studio_short),
    _Tool("CVAT", (".xml",), ("<annotations", "<image ", "<tag "), _cvat),
    _Tool("Datumaro", (".json",), ('"items"', '"categories"', '"label"'), _datumaro),
    _Tool("FiftyOne", (".json",), ('"classes"', '"labels"'), _fiftyone, ('"annotations"',)),
    _Tool("VIA", (".json",), ('"file_attributes"', '"filename"'), _via),
    _Tool("SageMaker", (".manifest", ".jsonl"), ('"source-ref"', "-metadata"), _sagemaker),
    _Tool("Vertex AI", (".jsonl",), ('"imageGcsUri"', '"classificationAnnotation'), _vertex),
)


_NOT_READ = {  # marks of exports whose labels are not read, with the way out
    "LabelMe": ('"shapes"', '"imagePath"'),
    "Labelbox": ('"data_row"', '"projects"'),
    "Supervisely": ('"tags"', '"objects"', '"size"'),
}


def unread_export(paths: Iterable[Path]) -> str:
    """Returns what to do about an export that is not read; "" where none of the files is one."""
    for path in paths:
        try:
            with open_regular(path) as file:
                head = file.read(_HEAD).decode("utf-8", errors="replace")
        except OSError:
            continue
        for name, marks in _NOT_READ.items():
            if all(mark in head for mark in marks):
                return (
                    f"{path.name} is of {name}, whose labels Ravine does not read; write a CSV of "
                    "them: --labels FILE.csv"
                )
    return ""


def is_annotations(path: Path) -> bool:
    """Returns whether a path is an export, or a folder with one in it or in annotations/.

    Looks at the first bytes of at most twenty files.
    """
    return _tool_of(path) is not None if path.is_file() else bool(_exports(path))


def _exports(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    endings = {ending for tool in _TOOLS for ending in tool.endings}
    found: list[Path] = []
    for folder in (root, root / "annotations"):
        try:
            files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in endings]
        except OSError:
            continue
        found += [file for file in files[:_MOST_FILES] if _tool_of(file) is not None]
    return found


def _tool_of(path: Path) -> _Tool | None:
    """Returns the program that wrote a file, by its first and last bytes."""
    if not any(path.suffix.lower() in tool.endings for tool in _TOOLS):
        return None
    try:
        if not path.is_file():
            return None
        with open_regular(path) as file:
            head = file.read(_HEAD)
            file.seek(max(len(head), path.stat().st_size - _HEAD))
            text = (head + file.read(_HEAD)).decode("utf-8", errors="replace")
    except OSError:
        return None
    for tool in _TOOLS:
        if path.suffix.lower() in tool.endings and all(mark in text for mark in tool.marks):
            return None if any(mark in text for mark in tool.without) else tool
    return None


def read_annotations(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images to which an export gives a class.

    Raises:
        DataError: the file is torn, an image is missing, or there are several exports.
    """
    files = [path] if path.is_file() else _exports(path)
    if len(files) != 1:
        names = " and ".join(file.name for file in files[:2]) or "none"
        raise DataError(f"{path}: wanted is one export of annotations, not {names}; name it")
    file = files[0]
    tool = _tool_of(file)
    if tool is None:
        raise DataError(f"{file} is no export that Ravine reads; export a CSV, or class folders")
    base = path if path.is_dir() else file.parent
    if settings.images is not None:
        base = expand_path(settings.images)
    said = _read(file, tool)
    several = settings.labels_per_image == "several" or any(len(one.labels) > 1 for one in said)
    images = list(_images(file, base, said, several=several))
    none = len(said) - len(images)
    meaning = ListMeaning(
        layout=_LAYOUT,
        classes=f"{file.name} of {tool.name}",
        splits=f"splits: {file.name}" if any(image.split for image in images) else "",
        left_out=(f"{none:,} images without a class",) if none else (),
    )
    return collect_listed(base, images, meaning)


def _read(file: Path, tool: _Tool) -> list[_Said]:
    text = read_text(file, most=_LARGEST)
    try:
        found = list(tool.read(text))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise DataError(
            f"{file} is no whole export of {tool.name}: {str(error)[:40] or 'torn'}; export it "
            "again, or as a CSV or class folders"
        ) from None
    if not any(one.labels for one in found):
        raise DataError(
            f"{file}: {tool.name} gives no image a class; boxes and shapes are no classes of images"
        )
    return found


def _images(
    file: Path, base: Path, said: Iterable[_Said], *, several: bool
) -> Iterator[ListedImage]:
    index = ImageIndex(base)
    for line, one in enumerate(said, start=1):
        if not one.labels:
            continue
        name = _found(index, one.image)
        if name is None:
            raise DataError(
                f"{file}: the image {one.image[-60:]!r} is not in {base}; name the folder of the "
                "images: --images FOLDER"
            )
        labels = tuple(dict.fromkeys(one.labels))
        yield ListedImage(
            path=name,
            label="" if several else labels[0],
            labels=labels if several else None,
            split=one.split,
            source=file,
            line=line,
        )


def _found(index: ImageIndex, image: str) -> str | None:
    """Returns the image of an address or a path on another machine, by as much of it as fits."""
    parts = PurePosixPath(image.partition("?")[0].replace("\\", "/")).parts
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    exact = next((tail for tail in tails if tail in index.entries), None)
    return exact or (index.find(parts[-1]) if parts else None)


def _rows(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list is wanted")
    return value
