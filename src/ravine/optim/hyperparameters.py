"""The ranges of a group's hyperparameters, alike for all optimizers."""

from collections.abc import Mapping
from typing import Any

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice, check_range


def check_hyperparameters(group: Mapping[str, Any], options: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises `SettingError` unless each hyperparameter of a group is in its range.

    Args:
        group: learning rate, decay, and what else the rule has.
        options: the hyperparameters of the rule that are no numbers, with all their values.
    """
    check_range("lr", group["lr"], low=0.0, high_open=True)
    check_range("weight_decay", group["weight_decay"], low=0.0, high_open=True)
    check_choice("decay", group["decay"], ["decoupled", "coupled"])
    if "eps" in group:
        # 0 would make 0/0 of a weight that has had no gradient yet.
        check_range("eps", group["eps"], low=0.0, low_open=True, high_open=True)
        if not isinstance(group["eps_in_root"], bool):
            raise SettingError(f"eps_in_root is True or False, got {group['eps_in_root']!r}")
    decays = {name: group[name] for name in ("momentum", "alpha") if name in group}
    decays |= {f"betas[{index}]": beta for index, beta in enumerate(group.get("betas", ()))}
    for name, value in decays.items():
        check_range(name, value, low=0.0, high=1.0, high_open=True)
    if "form" in group:
        check_choice("form", group["form"], options["form"])
