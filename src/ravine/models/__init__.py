"""AlexNet, ResNet, WideResNet, swift, plain networks, networks from outside."""

from ravine.models.settings import build
from ravine.models.summary import Row, summary
from ravine.models.table import MODELS, describe_stem

__all__ = ["MODELS", "Row", "build", "describe_stem", "summary"]
