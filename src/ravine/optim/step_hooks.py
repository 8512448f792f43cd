"""The hooks of an optimizer's steps, for steps that do not go through `optimizer.step()`.

As torch.optim.Optimizer calls them (`profile_hook_step` in torch/optim/optimizer.py, torch 2.13):
before a step the global ones and then the optimizer's own, behind it the other way round. Each
proposed step calls them, one that is not taken too: on a GPU the host does not know which.
"""

from itertools import chain

from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


def call_pre_hooks(optimizer: Optimizer) -> bool:
    """Calls what waits for the beginning of a step; returns whether there was anything.

    Raises:
        RuntimeError: a hook wants to change the arguments of the step, which has none.
    """
    own = optimizer._optimizer_step_pre_hooks
    hooks = list(chain(_global_optimizer_pre_hooks.values(), own.values()))
    for hook in hooks:
        changed = hook(optimizer, (optimizer,), {})
        if changed is not None and changed != ((optimizer,), {}):
            raise RuntimeError(
                f"the step hook {hook!r} returns {changed!r}; the step of a Transaction has no "
                "arguments to change: return None"
            )
    return bool(hooks)


def call_post_hooks(optimizer: Optimizer) -> None:
    """Calls what waits for the end of a step."""
    own = optimizer._optimizer_step_post_hooks
    for hook in list(chain(own.values(), _global_optimizer_post_hooks.values())):
        hook(optimizer, (optimizer,), {})
    # Where torch's schedulers look whether there was a step before theirs, else they warn.
    optimizer._opt_called = True  # type: ignore[attr-defined]
