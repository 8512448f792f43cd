"""Finds image files by the names that a table gives them."""

import filecmp
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.collection import FileEntry
from ravine.data.sources.listing import image_files, same_folders
from ravine.data.sources.split_words import split_of

_ZEROS = re.compile(r"\.0+")


class ImageIndex:
    """The images below a folder, by name.

    Args:
        folder: of the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, FileEntry] = dict(image_files(folder))
        self.copies: set[str] = set()
        self._by_name: dict[str, list[str]] = {}
        self._by_lower: dict[str, list[str]] | None = None
        self._by_number: dict[int, list[str]] | None = None
        self._absolute: Path | None = None
        for path in self.entries:
            file = PurePosixPath(path)
            for key in {_normalised(file.name), _normalised(file.stem)}:
                self._by_name.setdefault(key, []).append(path)

    def find(self, name: str) -> str | None:
        """Returns the path of the image `name`, with or without its folders and its ending.

        `name` may have folders above this one, also such as another machine calls them, but none
        that holds another image: `val/0.jpg` is not in a folder `train`.
        Of files with the same bytes it is the first; the others are then in `copies`.

        Raises:
            DataError: more than one image fits.
        """
        name = name.replace("\\", "/").removeprefix("./")
        if name in self.entries:
            return name
        wanted = PurePosixPath(_normalised(name))
        candidates = self._by_name.get(wanted.name) or self._alike(wanted.name)
        fitting = [
            p
            for p in candidates
            if same_folders(wanted, PurePosixPath(_normalised(p))) and not self._lies_in(wanted, p)
        ]
        if len(fitting) > 1 and not self._are_copies(fitting):
            raise DataError(
                f"{name!r} fits several images in {self.folder}: {fitting[0]}, {fitting[1]}; "
                "write the path below the folder into the CSV"
            )
        return fitting[0] if fitting else None

    def _lies_in(self, wanted: PurePosixPath, path: str) -> bool:
        """Returns whether the folders of a name, above this one, are those of another image."""
        parts = PurePosixPath(path).parts
        above = wanted.parts[: -len(parts)]
        pairs = zip(reversed(above), self._parts_above(), strict=False)
        for depth, (theirs, ours) in enumerate(pairs, start=1):
            if theirs.casefold() == ours.casefold():
                continue
            splits = {split_of(theirs), split_of(ours)}
            if len(splits) == 2 and None not in splits:
                return True
            other = self._root().parents[depth - 1].joinpath(*above[len(above) - depth :], *parts)
            return other.is_file()
        return False

    def _parts_above(self) -> Sequence[str]:
        """Returns the names of this folder and those above it, from the innermost."""
        return [_normalised(part) for part in self._root().parts[:0:-1]]

    def _root(self) -> Path:
        if self._absolute is None:
            self._absolute = Path(os.path.abspath(self.folder))
        return self._absolute

    def _alike(self, name: str) -> Sequence[str]:
        """Returns the images of this name in other case, or of this number with other zeros.

        Tables are written on systems to which A.PNG is a.png, and spreadsheets say 7 for 00007.png.
        """
        if self._by_lower is None:
            self._by_lower = {}
            for key, paths in self._by_name.items():
                self._by_lower.setdefault(key.lower(), []).extend(paths)
        return self._by_lower.get(name.lower()) or self._numbered(name)

    def _numbered(self, name: str) -> Sequence[str]:
        number = name.partition(".")[0]
        if not (number.isascii() and number.isdecimal()):
            return ()
        if self._by_number is None:
            self._by_number = {}
            for key, paths in self._by_name.items():
                if key.isascii() and key.isdecimal():
                    self._by_number.setdefault(int(key), []).extend(paths)
        ending = name.removeprefix(number)
        if _ZEROS.fullmatch(ending):  # pandas writes whole numbers so, where one is missing
            ending = ""
        return [p for p in self._by_number.get(int(number), ()) if p.endswith(ending)]

    def _are_copies(self, paths: Sequence[str]) -> bool:
        """Returns whether files hold the same bytes; if so, all but the first are copies."""
        entries = [self.entries[path] for path in paths]
        if len({entry.size for entry in entries}) > 1:
            return False
        try:
            same = all(
                filecmp.cmp(entries[0].path, entry.path, shallow=False) for entry in entries[1:]
            )
        except OSError:
            return False
        if same:
            self.copies.update(paths[1:])
        return same


def _normalised(name: str) -> str:
    """Returns a name in one Unicode form: file systems write accents as one letter or two."""
    return unicodedata.normalize("NFC", name)
