"""How other data is read for a network: as its training data was, as far as that fits.

An option of the training holds where the layout of the new data can follow it, its table has the
column, and the classes are those of the network. What does not hold is said in one line, with what
is done instead; an option that the user gives for the new data is never changed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from ravine.core.errors import RavineError
from ravine.core.progress import Progress, no_progress
from ravine.data.class_matching import class_indices
from ravine.data.collection import Collection
from ravine.data.discovery import find_collection, layout_at
from ravine.data.layouts import OPTIONS, layout_named
from ravine.data.location import SAMPLE, expand_path, refuse_missing
from ravine.data.reading_options import NOT_READ_AGAIN
from ravine.data.settings import DataSettings
from ravine.data.sources.column_names import column_names
from ravine.data.understanding import shortened

_DEEPEST = 4
_NONE = "none"

Options = dict[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Labelled images that were found for a network.

    Attributes:
        settings: by which they were read.
        collection: the images.
        notes: options of the training that do not fit them, in sentences.
    """

    settings: DataSettings
    collection: Collection
    notes: tuple[str, ...]


def read_again(
    trained: Mapping[str, Any],
    *,
    data: str,
    classes: Sequence[str],
    labels: str | None = None,
    given: Mapping[str, Any] | None = None,
    channels: int | None = None,
    progress: Progress = no_progress,
) -> Reading:
    """Returns labelled images, read by the options of the training as far as they fit.

    Args:
        trained: settings of the training, from its recipe; empty where there is none.
        data: path of the source.
        classes: K names that the network knows.
        labels: path of a table with the labels, or None.
        given: options that the user gives for this data; None for those that he does not.
        channels: that the network takes; decides where an array can be read in two ways.
        progress: called while decoding.

    Raises:
        DataError: the data cannot be read, or has a class that the network does not know.
        SettingError: a value does not fit.
    """
    own = {name: value for name, value in (given or {}).items() if value is not None}
    own |= {"data": data, "labels": labels}
    own |= {} if channels is None else {"channels": str(channels)}
    refuse_missing(DataSettings.of(own))
    kept = {
        name: value
        for name, value in trained.items()
        if name in DataSettings.model_fields and name not in NOT_READ_AGAIN and name not in own
    }
    if labels is None and trained.get("labels") and _same(data, trained.get("data")):
        own["labels"] = trained["labels"]
    kept, notes = _fitting(kept, own, trained)
    failed: RavineError | None = None
    for options, note in _attempts(kept, own, trained):
        settings = DataSettings.of(options | own)
        try:
            collection = find_collection(settings, progress)
            class_indices(collection.classes, classes, data)
        except RavineError as error:
            failed = failed or error
            continue
        said = (*notes, note) if note else notes
        return Reading(settings=settings, collection=collection, notes=said)
    assert failed is not None
    raise failed


def _same(data: str, other: Any) -> bool:
    return isinstance(other, str) and expand_path(data).absolute() == expand_path(other).absolute()


def _fitting(
    kept: Options, own: Options, trained: Mapping[str, Any]
) -> tuple[Options, tuple[str, ...]]:
    """Returns the kept options that the layout and the columns of the data allow, and notes."""
    if own["data"] == SAMPLE:
        return {name: value for name, value in kept.items() if name not in (*OPTIONS, "layout")}, ()
    table = own["labels"] or own["data"]
    notes: list[str] = []
    if "layout" in kept and not layout_named(kept["layout"]).fits(expand_path(table)):
        notes.append(f"{_shown(table)} is not laid out as the training data ({kept['layout']})")
        del kept["layout"]
    named = {name: kept[name] for name in ("layout",) if name in kept}
    path, layout = layout_at(DataSettings.of(named | own))
    for name in [name for name in OPTIONS if name in kept]:
        why = _unfit(name, kept[name], path)
        if name not in layout.options:
            why = f"has no effect: {_shown(table)} is read as {layout.what}"
        elif name == "images":
            why = "" if own["labels"] is None and expand_path(kept[name]).is_dir() else "unused"
        if why:
            del kept[name]
        if why and name != "images":
            notes.append(f"{_option(name, trained[name])} of the training {why}")
    return kept, tuple(notes)


def _unfit(name: str, value: str, path: Path) -> str:
    """Returns why a table cannot follow an option that names a column; "" if it can."""
    if not name.endswith("_column") or value == _NONE:
        return ""
    columns = column_names(path)
    if columns is None or value in columns:
        return ""
    return f"is no column of {_shown(path)}; the usual names are tried"


def _attempts(
    kept: Options, own: Options, trained: Mapping[str, Any]
) -> Iterator[tuple[Options, str]]:
    """Yields the options to try in turn, each with what it changes of those of the training."""
    if "images" in kept and not _same(own["data"], trained.get("data")):
        folder = kept.pop("images")  # a table's own folder comes first
        yield dict(kept), ""
        yield kept | {"images": folder}, f"the images are those of the training, {_shown(folder)}"
    else:
        yield dict(kept), ""
    if "class_level" in kept:
        level = str(kept["class_level"])
        before = f"--class-level {level} of the training does not fit {_shown(own['data'])}; read"
        for other in _other_levels(level):
            yield kept | {"class_level": other}, f"{before} by --class-level {other}"
        yield _without(kept, "class_level"), f"{before} without it"
    if "label_from_name" in kept:
        option = _option("label_from_name", kept["label_from_name"])
        yield (
            _without(kept, "label_from_name"),
            f"{option} of the training fits no name in {_shown(own['data'])}; read by folders",
        )


def _other_levels(level: str) -> list[str]:
    if level == "leaf":
        return []
    end = "+" if level.endswith("+") else ""
    return [one for n in range(1, _DEEPEST + 1) if (one := f"{n}{end}") != level]


def _without(options: Options, name: str) -> Options:
    return {key: value for key, value in options.items() if key != name}


def _option(name: str, value: Any) -> str:
    return f"--{name.replace('_', '-')} {shortened(str(value), 40)}"


def _shown(path: Any) -> str:
    text = str(path)
    return text if len(text) <= 60 else f"…{text[-59:]}"
