"""Update rules, clipping, parameter groups, the range test of the learning rate."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.optim.adagrad import AdaGrad
    from ravine.optim.adam import Adam
    from ravine.optim.groups import parameter_groups
    from ravine.optim.lr_range_test import RangeTest, range_test
    from ravine.optim.momentum import Momentum
    from ravine.optim.nadam import Nadam
    from ravine.optim.optimizers import OPTIMIZERS
    from ravine.optim.rmsprop import RMSProp
    from ravine.optim.state_by_name import load_named_state, load_state, named_state, save_state
    from ravine.optim.torch_conversion import from_torch, load_torch_state
    from ravine.optim.transaction import AdaptiveClip, Decision, Transaction, decide
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "OPTIMIZERS": "ravine.optim.optimizers",
            "AdaGrad": "ravine.optim.adagrad",
            "Adam": "ravine.optim.adam",
            "AdaptiveClip": "ravine.optim.transaction",
            "Decision": "ravine.optim.transaction",
            "Momentum": "ravine.optim.momentum",
            "Nadam": "ravine.optim.nadam",
            "RMSProp": "ravine.optim.rmsprop",
            "RangeTest": "ravine.optim.lr_range_test",
            "Transaction": "ravine.optim.transaction",
            "decide": "ravine.optim.transaction",
            "from_torch": "ravine.optim.torch_conversion",
            "load_named_state": "ravine.optim.state_by_name",
            "load_state": "ravine.optim.state_by_name",
            "load_torch_state": "ravine.optim.torch_conversion",
            "named_state": "ravine.optim.state_by_name",
            "parameter_groups": "ravine.optim.groups",
            "range_test": "ravine.optim.lr_range_test",
            "save_state": "ravine.optim.state_by_name",
        },
    )

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
