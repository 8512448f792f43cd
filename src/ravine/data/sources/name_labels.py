"""Labels in the names of files: `cat.0.jpg`, `n01440764_18.JPEG`, `great_pyrenees_12.jpg`.

`--label-from-name` takes one of the forms here, or a regular expression with one group, which is
searched for in the file's name without its ending.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ravine.core.errors import SettingError
from ravine.data.class_spelling import plain_class
from ravine.data.understanding import shortened

FORMS: Mapping[str, str] = {
    "before-dot": r"^([^.]+)\.",
    "before-last-underscore": r"^(.+)_[^_]*$",
    "before-underscore": r"^([^_]+)_",
    "before-last-dash": r"^(.+)-[^-]*$",
    "before-dash": r"^([^-]+)-",
    "before-number": r"^(.*?[^\d\W_])[\W_]*\d+\W*$",
}
_PROPOSED_OF = 5000  # names looked at
_FEWEST = 2  # images of a class, on average


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern that finds the label in a file's name.

    Attributes:
        said: the form or the pattern, as the user wrote it.
        pattern: with one group.
    """

    said: str
    pattern: re.Pattern[str]

    def label_of(self, name: str) -> str:
        """Returns the label in an image's path, or "" if the pattern is not in its name.

        >>> name_pattern("before-dot").label_of("train/cat.0.jpg")
        'cat'
        """
        found = self.pattern.search(PurePosixPath(name).stem)
        return (found.group(1) or "").strip() if found else ""


def name_pattern(value: str, option: str = "--label-from-name") -> NamePattern:
    """Returns the pattern of a form's name, or of a regular expression with one group.

    Raises:
        SettingError: it is neither.
    """
    try:
        pattern = re.compile(FORMS.get(value, value))
    except (re.error, RecursionError, OverflowError) as error:
        raise SettingError(
            f"{option} {value!r} is no regular expression ({error}); or one of: {', '.join(FORMS)}"
        ) from None
    if pattern.groups != 1:
        raise SettingError(
            f"{option} {value!r}: wanted is a pattern with one group in brackets, such as "
            rf"'^(.+)_\d+$', or one of: {', '.join(FORMS)}"
        )
    return NamePattern(value, pattern)


def without_strange_splits(
    labels: Sequence[str], splits: Sequence[str | None]
) -> tuple[list[str], str]:
    """Returns the labels, "" in splits whose names hold no class of training; and a note on these.

    `test/ILSVRC_0.JPEG` next to `train/n01440764_18.JPEG` has no label: a form finds a word in
    names of any kind.

    Args:
        labels: of N images; "" for none.
        splits: of the N images.

    >>> without_strange_splits(["n01", "n02", "ILSVRC"], ["train", "train", "test"])
    (['n01', 'n02', ''], " (not 'ILSVRC', in test alone)")
    """
    trained = "train" if "train" in splits else None
    pairs = list(zip(labels, splits, strict=True))
    known = {plain_class(label) for label, split in pairs if label and split == trained}
    named: dict[str, set[str]] = {}
    for label, split in pairs:
        if label and split not in (trained, None):
            named.setdefault(split, set()).add(label)
    strange = {s: ones for s, ones in named.items() if not known & set(map(plain_class, ones))}
    if not known or not strange:
        return list(labels), ""
    split, ones = min(strange.items())
    note = f" (not {shortened(min(ones), 20)!r}, in {split} alone)"
    return ["" if split in strange else label for label, split in pairs], note


def proposed_form(names: Sequence[str]) -> str | None:
    """Returns the form that finds a label in every name, in few classes; None if there is none.

    A class is a word that several names share: `cat.0.jpg` has one, `0001_2.jpg` has none.

    >>> proposed_form([f"{animal}.{n}.jpg" for animal in ("cat", "dog") for n in range(9)])
    'before-dot'
    >>> proposed_form(["Abyssinian_1.jpg", "Abyssinian_2.jpg", "beagle_1.jpg", "beagle_2.jpg"])
    'before-last-underscore'
    >>> proposed_form(["1.jpg", "2.jpg", "3.jpg"])
    """
    step = -(-len(names) // _PROPOSED_OF) or 1
    looked_at = names[::step]
    for form in FORMS:
        pattern = name_pattern(form)
        labels = [pattern.label_of(name) for name in looked_at]
        if _are_classes(labels):
            return form
    return None


def _are_classes(labels: Iterable[str]) -> bool:
    counts = Counter(labels)
    return (
        "" not in counts
        and len(counts) > 1
        and counts.total() >= _FEWEST * len(counts)
        and all(any(letter.isalpha() for letter in label) for label in counts)
    )
