"""The event that is only a line of text; it loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A line worth a reader's attention, such as a choice that Ravine made.

    Attributes:
        text: the line.
        warning: whether something may be wrong.
        details: the same in full, as plain values for `--json`; {} if the line says it all.
    """

    text: str
    warning: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
