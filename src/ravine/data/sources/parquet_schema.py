"""Which columns of a parquet hold the images and the labels, and what the labels are called.

Hugging Face's datasets keep an image as a struct of `bytes` and `path`, and the names of the
classes as JSON in the schema's metadata under the key `huggingface`
(https://huggingface.co/docs/datasets/about_dataset_features).

Shape letters: K classes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ravine.core.errors import DataError
from ravine.data.settings import DataSettings
from ravine.data.sources.format_library import format_library

_LABELS = ("label", "labels", "fine_label", "class", "class_name", "target", "category", "y")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetColumns:
    """The columns that are read.

    Attributes:
        image: column of the images.
        in_struct: the image is a struct with the field `bytes`.
        has_path: the struct also has the field `path`.
        label: column of the labels; "" where they are not wanted.
        names: K names of the classes that the schema gives to the numbers 0..K-1, or ().
    """

    image: str
    in_struct: bool
    has_path: bool
    label: str
    names: tuple[str, ...] = ()


def find_columns(path: Path, schema: Any, settings: DataSettings) -> ParquetColumns:
    """Returns the columns of images and labels.

    Args:
        path: of the parquet, for messages.
        schema: of pyarrow.
        settings: may name the columns.

    Raises:
        DataError: there is none, or there are several; the message names the option.
    """
    features = _features(schema)
    found = find_image_column(path, schema, settings)
    label = _label_column(path, schema, features, settings.label_column)
    return replace(found, label=label, names=_class_names(path, label, features.get(label)))


def find_image_column(path: Path, schema: Any, settings: DataSettings) -> ParquetColumns:
    """Returns the column of images alone; see `find_columns`."""
    image = _image_column(path, schema, settings.image_column)
    kind = schema.field(image).type
    arrow = format_library("pyarrow", "parquet", path)
    struct = arrow.types.is_struct(kind)
    return ParquetColumns(
        image=image,
        in_struct=struct,
        has_path=struct and kind.get_field_index("path") >= 0,
        label="",
    )


def _features(schema: Any) -> Mapping[str, Any]:
    """Returns what Hugging Face's metadata say of each column."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = found["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_names(path: Path, label: str, feature: Any) -> tuple[str, ...]:
    if isinstance(feature, list) and len(feature) == 1:  # a list of it, as written before 2020
        feature = feature[0]
    if isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]  # Sequence, List
    names = feature.get("names") if isinstance(feature, dict) else None
    if not names:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: the schema's names of {label!r} are no list of text")
    if len(set(names)) < len(names):
        raise DataError(f"{path}: the schema gives two classes of {label!r} the same name")
    return tuple(names)


def _image_column(path: Path, schema: Any, given: str | None) -> str:
    found = [field.name for field in schema if _holds_images(path, field.type)]
    if given is not None:
        if given in found:
            return given
        raise _unfit(path, given, "images", found)
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{path} holds no images: wanted is a column of bytes, or a struct of bytes and path; "
            f"it has: {_shown(schema.names)}"
        )
    raise DataError(
        f"{path} has images in {_shown(found)}; name one of them with --image-column {found[0]}"
    )


def _holds_images(path: Path, kind: Any) -> bool:
    types = format_library("pyarrow", "parquet", path).types
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_bytes(types, kind.field(index).type)
    return _is_bytes(types, kind)


def _is_bytes(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _label_column(path: Path, schema: Any, features: Mapping[str, Any], given: str | None) -> str:
    if given is not None:
        if given in schema.names:
            return given
        raise _unfit(path, given, "labels", schema.names)
    if "label" in schema.names:
        return "label"
    said = [
        name
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    ]
    known = [name for name in _LABELS if name in schema.names]
    found = [name for name in (said or known) if name in schema.names]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"{path}: no column has a usual name for the label; name it with --label-column, "
            f"one of: {_shown(schema.names)}"
        )
    raise DataError(
        f"{path} has labels in {_shown(found)}; name one of them with --label-column {found[0]}"
    )


def _unfit(path: Path, given: str, what: str, found: Sequence[str]) -> DataError:
    return DataError(f"{path} has no column {given!r} of {what}; it has: {_shown(found)}")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")
