"""Update rules, clipping, parameter groups, the range test of the learning rate."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names
from ravine.optim import optimizers

if TYPE_CHECKING:
    from ravine.optim.groups import parameter_groups
    from ravine.optim.lr_range_test import RangeTest, range_test
    from ravine.optim.optimizers import *  # noqa: F403  # the classes of its table
    from ravine.optim.state_by_name import load_named_state, load_state, named_state, save_state
    from ravine.optim.torch_conversion import from_torch, load_torch_state
    from ravine.optim.transaction import AdaptiveClip, Decision, Transaction, decide
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(optimizers.__all__, "ravine.optim.optimizers"),
            "AdaptiveClip": "ravine.optim.transaction",
            "Decision": "ravine.optim.transaction",
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
