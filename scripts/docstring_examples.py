"""An extension of griffe: a docstring's `>>>` lines become code on the pages of names."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^>>>.*\n?(?:.+\n?)*", re.MULTILINE)


class FencedExamples(griffe.Extension):
    """Puts each block that begins with `>>>` into a fence."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of an object as it is read."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Returns a docstring whose examples are fenced code."""
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
