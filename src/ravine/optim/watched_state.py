"""An optimizer's state with a flag that every change sets.

A step engine keeps addresses of the state's tensors. To compare them with a thousand small
dictionaries at each step would cost as much as the step; a flag costs nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, final

from torch import Tensor

_CHANGES = (
    "__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update",
)  # fmt: skip


@final
class WatchedState(defaultdict[Tensor, dict[str, Any]]):
    """The state of each parameter by slot, as torch.optim has it.

    Attributes:
        changed: whether a slot, or which parameters have slots, was changed since the flag was
            cleared. Writes into a tensor do not count.
    """

    changed: bool

    def __init__(self, state: Mapping[Tensor, Mapping[str, Any]]) -> None:
        super().__init__(lambda: _Slots(self))
        self.changed = True
        for key, slots in state.items():
            self[key] = dict(slots)

    def __setitem__(self, key: Tensor, slots: dict[str, Any]) -> None:
        self.changed = True
        super().__setitem__(key, _Slots(self, slots))

    def __reduce__(self) -> Any:
        return self.plain().__reduce__()  # a copy has no flag

    def plain(self) -> defaultdict[Tensor, dict[str, Any]]:
        """Returns the same tensors, of any shape, in plain dictionaries."""
        return defaultdict(dict, {key: dict(slots) for key, slots in self.items()})


@final
class _Slots(dict[str, Any]):
    """The slots of one parameter."""

    def __init__(self, owner: WatchedState, slots: Mapping[str, Any] | None = None) -> None:
        super().__init__(slots or {})
        self.owner = owner

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _setting_flag(change: Callable[..., Any], owner: Callable[[Any], WatchedState]) -> Any:
    def changes(self: Any, *arguments: Any, **named: Any) -> Any:
        owner(self).changed = True
        return change(self, *arguments, **named)

    return changes


for _name in _CHANGES:
    setattr(_Slots, _name, _setting_flag(getattr(dict, _name), lambda slots: slots.owner))
    if _name != "__setitem__":
        setattr(
            WatchedState, _name, _setting_flag(getattr(defaultdict, _name), lambda state: state)
        )
