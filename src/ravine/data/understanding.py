"""What a source was taken for, in one line: layout, classes, splits, and what was left out."""

from dataclasses import dataclass
from typing import Any

MOST_LETTERS = 200


@dataclass(frozen=True, slots=True)
class Understood:
    """What a reader took a source for.

    Attributes:
        layout: name of its layout, a row of `layouts.LAYOUTS`.
        classes: where the classes come from, and how many: "leaf folders, 4".
        splits: where the splits come from: "validation: column is_valid"; "" if none are given.
        left_out: what was passed over, each with its count: "5 .heic", "1 folder labels/".
    """

    layout: str
    classes: str
    splits: str = ""
    left_out: tuple[str, ...] = ()

    def line(self) -> str:
        """Returns one line of at most 200 letters.

        >>> found = Understood("folders", "leaf folders, 4", "test: test/", ("5 .heic", "1 .txt"))
        >>> found.line()
        'read as folders; classes: leaf folders, 4; test: test/; left out: 5 .heic, 1 .txt'
        """
        parts = [f"read as {self.layout}", f"classes: {self.classes}"]
        if self.splits:
            parts.append(self.splits)
        if self.left_out:
            parts.append(f"left out: {', '.join(self.left_out)}")
        return shortened("; ".join(parts))

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, nothing shortened."""
        return {
            "layout": self.layout,
            "classes": self.classes,
            "splits": self.splits,
            "left_out": list(self.left_out),
        }


def shortened(text: str, most: int = MOST_LETTERS) -> str:
    """Returns a text of at most `most` letters; what is cut off is marked.

    >>> shortened("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= most else f"{text[: most - 1]}…"
