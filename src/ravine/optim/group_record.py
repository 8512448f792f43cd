"""The parameters, rules and state that a step engine was built from.

An engine keeps addresses. Before each step it compares this record with the optimizer, so that a
changed group, a replaced state or a first gradient makes it be built anew.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from torch import Tensor

from ravine.optim.watched_state import WatchedState

Group = Mapping[str, Any]
Variant = Callable[[Group], str]


@final
class GroupRecord:
    """An optimizer's groups and state as they were when an engine was built.

    Args:
        groups: the optimizer's groups.
        state: its state; from now on `state.changed` says whether it was changed.
        variant: returns the name of a group's rule in the kernels.
    """

    def __init__(self, groups: Sequence[Group], state: WatchedState, variant: Variant) -> None:
        self.rules = [variant(group) for group in groups]
        self.parameters = [p for group in groups for p in group["params"]]
        self._state = state
        self._variant = variant
        self._sizes = [len(group["params"]) for group in groups]
        self._without_state = [p for p in self.parameters if not state.get(p)]
        state.changed = False

    def by_rule(
        self, groups: Sequence[Group], fits: Callable[[Tensor, str], bool]
    ) -> dict[str, list[tuple[Tensor, int]]]:
        """Returns the accepted parameters, of any shape, by rule, with their group's index."""
        rows: dict[str, list[tuple[Tensor, int]]] = {}
        for index, (group, rule) in enumerate(zip(groups, self.rules, strict=True)):
            rows.setdefault(rule, []).extend((p, index) for p in group["params"] if fits(p, rule))
        return {rule: row for rule, row in rows.items() if row}

    def is_complete(self, num_held: int) -> bool:
        """Returns whether an engine that holds so many parameters holds all that have a state."""
        return num_held + len(self._without_state) == len(self.parameters)

    def is_current(self, groups: Sequence[Group], state: WatchedState) -> bool:
        """Returns whether parameters, rules and state are still those of this record."""
        return (
            state is self._state
            and not state.changed
            and self._sizes == [len(group["params"]) for group in groups]
            and self.rules == [self._variant(group) for group in groups]
            and all(p.grad is None for p in self._without_state)
        )
