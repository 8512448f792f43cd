"""Update rules, clipping, parameter groups, the range test of the learning rate."""

from ravine.optim import optimizers
from ravine.optim.from_torch import from_torch, load_torch_state
from ravine.optim.groups import parameter_groups
from ravine.optim.named_state import load_named_state, load_state, named_state, save_state
from ravine.optim.optimizers import *  # noqa: F403  # the classes of its table
from ravine.optim.range_test import RangeTest, range_test
from ravine.optim.transaction import AdaptiveClip, Decision, Transaction, decide

__all__ = [
    "AdaptiveClip",
    "Decision",
    "RangeTest",
    "Transaction",
    "decide",
    "from_torch",
    "load_named_state",
    "load_state",
    "load_torch_state",
    "named_state",
    "parameter_groups",
    "range_test",
    "save_state",
]
__all__ += optimizers.__all__
