"""AlexNet, ResNet, WideResNet, plain networks, and those of others."""

from ravine.models.settings import build
from ravine.models.summary import Row, summary
from ravine.models.table import MODELS, describe_stem

__all__ = ["MODELS", "Row", "build", "describe_stem", "summary"]
