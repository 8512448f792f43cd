"""What a file says of its network: classes, sizes, normalisation, rule of decision, origin."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from ravine.core.version import __version__
from ravine.data.dataset import Preprocessing
from ravine.exports.decisions import DecisionRule

KEY = "ravine"
"""Where the formats keep the facts: one JSON text under this key."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a reader of the file has to know.

    Attributes:
        network: its name, as a user types it.
        classes: the K names.
        input_shape: of one image as the network takes it, (C, H, W).
        preprocessing: how a picture becomes that; None where only the user knows.
        inside: whether the file takes bytes (B, S, S, C) and gives probabilities; else it takes
            normalised images (B, C, H, W) and gives logits.
        rule: how logits become decisions.
    """

    network: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    preprocessing: Preprocessing | None = None
    inside: bool = False
    rule: DecisionRule = field(default_factory=DecisionRule)

    @property
    def input_name(self) -> str:
        """What the file's input is called."""
        return "bytes" if self.inside else "images"

    @property
    def output_name(self) -> str:
        """What the file's output is called."""
        return "probabilities" if self.inside else "logits"

    def to_json(self) -> Mapping[str, Any]:
        """Returns plain values."""
        return {
            "network": self.network,
            "classes": list(self.classes),
            "input": self.input_name,
            "input_shape": list(self.input_shape),
            "output": self.output_name,
            "decision": dict(self.rule.to_json()),
            "preprocessing": self.preprocessing.to_json() if self.preprocessing else None,
            "made_by": f"ravine {__version__}",
        }

    def to_text(self) -> str:
        """Returns the JSON text that stands under `KEY` in a file's metadata."""
        return json.dumps(self.to_json(), ensure_ascii=False)
