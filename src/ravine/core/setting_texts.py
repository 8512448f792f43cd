"""What each setting is, in words: the string below it in the source.

It is read where help is printed, and not where a class is made, as pydantic would: that takes a
tenth of the time in which a mistake on the command line is answered.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from itertools import pairwise

from ravine.core.settings import Settings


def setting_texts(group: type[Settings]) -> dict[str, str]:
    """Returns the text of each setting, in one line; those of its base classes as well.

    A `description` that a field has already stands before the source's.

    >>> class Small(Settings):
    ...     depth: int = 3
    >>> setting_texts(Small)
    {}
    """
    texts = {name: text for one in reversed(group.__mro__) for name, text in _texts_in(one)}
    made = {name: field.description for name, field in group.model_fields.items()}
    return texts | {name: " ".join(text.split()) for name, text in made.items() if text}


def _texts_in(group: type) -> Iterator[tuple[str, str]]:
    """Yields the settings that a class itself defines, and their texts."""
    if not issubclass(group, Settings):
        return
    module = ast.parse(inspect.getsource(sys.modules[group.__module__]))
    for row in module.body:
        if isinstance(row, ast.ClassDef) and row.name == group.__name__:
            for field, below in pairwise(row.body):
                text, target = _string(below), getattr(field, "target", None)
                if text and isinstance(target, ast.Name):
                    yield target.id, " ".join(text.split())


def _string(row: ast.stmt) -> str:
    """Returns the string that a row of a source consists of, or ""."""
    value = row.value if isinstance(row, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
