"""Update rules, clipping, parameter groups, the range test of the rate."""

from ravine.optim.adagrad import AdaGrad
from ravine.optim.adam import Adam
from ravine.optim.from_torch import from_torch, load_torch_state
from ravine.optim.groups import parameter_groups
from ravine.optim.momentum import Momentum
from ravine.optim.nadam import Nadam
from ravine.optim.named_state import load_named_state, load_state, named_state, save_state
from ravine.optim.range_test import RangeTest, range_test
from ravine.optim.rmsprop import RMSProp
from ravine.optim.settings import OPTIMIZERS
from ravine.optim.transaction import AdaptiveClip, Decision, Transaction, decide

__all__ = [
    "OPTIMIZERS",
    "AdaGrad",
    "Adam",
    "AdaptiveClip",
    "Decision",
    "Momentum",
    "Nadam",
    "RMSProp",
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
