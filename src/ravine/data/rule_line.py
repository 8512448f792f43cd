"""Of the rule by which images become the network's input, what these images are concerned by.

The whole rule stands in audit.json and in the report. Loads no torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ravine.data.decode import RULE

# What decoding does to images of a Pillow mode.
_OF_MODES = (
    (frozenset({"RGBA", "LA", "PA", "La", "RGBa"}), "transparency on white"),
    (frozenset({"CMYK", "P", "YCbCr", "LAB", "HSV"}), "other colours to RGB"),
)


def rule_line(audit: Mapping[str, Any]) -> str:
    """Returns the line that is printed before training.

    Args:
        audit: as in audit.json.

    >>> rule = f"images become 28×28 (as asked), grey (as asked): middle cut out; {RULE}"
    >>> square, clear = {"size": "28x28", "count": 9}, {"mode": "LA", "count": 9}
    >>> rule_line({"rule": rule, "sizes": [square], "modes": [clear]})
    'images become 28×28 (as asked), grey (as asked); transparency on white'
    """
    rule = str(audit["rule"])
    head, found, more = rule.partition(f"; {RULE}")
    if not found:
        return rule
    size, _, fit = head.rpartition(": ")
    parts = [size]
    if not _are_square(audit["sizes"]):
        parts.append(fit)
    modes = {row["mode"] for row in audit["modes"]}
    parts += [text for concerned, text in _OF_MODES if modes & concerned]
    return "; ".join(parts) + more


def _are_square(sizes: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether every image is a square already, of the network's size or another."""
    sides = [str(row["size"]).split("x") for row in sizes]
    return all(len(pair) == 2 and pair[0] == pair[1] for pair in sides)
