"""AlexNet, ResNet, WideResNet, swift, plain networks, networks from outside."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.models.layer_table import Row, summary
    from ravine.models.settings import build
    from ravine.models.table import MODELS, describe_stem
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "MODELS": "ravine.models.table",
            "Row": "ravine.models.layer_table",
            "build": "ravine.models.settings",
            "describe_stem": "ravine.models.table",
            "summary": "ravine.models.layer_table",
        },
    )

__all__ = ["MODELS", "Row", "build", "describe_stem", "summary"]
