"""Where examples influence each other inside a network whose outputs are all the same.

Attention that runs along the batch leaves a class token alone with the class tokens of the other
examples: the outputs do not change with anything, and the mixture shows in the tokens alone.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ravine.checks.check_batch import CheckBatch
from ravine.core.nested import call_model, slice_examples, tensors_in

Outputs = dict[str, Tensor]


def inner_influence(model: nn.Module, sample: CheckBatch) -> tuple[str | None, float]:
    """Returns the first layer in which half of the batch alone changes most, and how much.

    Over the deviation between examples of the layer's outputs. (None, 0.0) where no layer has the
    batch as its first axis, or the network takes no smaller batch.
    """
    size = len(sample)
    try:
        whole = _outputs(model, sample.inputs, size)
        half = _outputs(model, slice_examples(sample.inputs, size // 2, size=size), size // 2)
    except Exception:  # the user's network, on a batch that it was not made for
        return None, 0.0
    found = [
        (name, _change(whole[name][: size // 2], half[name]))
        for name in whole
        if name in half and half[name].shape[1:] == whole[name].shape[1:]
    ]
    most = max((change for _, change in found), default=0.0)
    return next(((name, most) for name, change in found if change > most / 2), (None, 0.0))


def _outputs(model: nn.Module, inputs: Any, size: int) -> Outputs:
    """Returns the first output (N, …) of each layer, of its last call."""
    found: Outputs = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            fits = [t for t in tensors_in(output) if t.dim() > 1 and len(t) == size]
            if fits and fits[0].is_floating_point():
                found[name] = fits[0].double()

        return keep

    hooks = [
        module.register_forward_hook(keeper(name)) for name, module in model.named_modules() if name
    ]
    try:
        call_model(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _change(whole: Tensor, half: Tensor) -> float:
    """Returns the root mean square change over the deviation between examples."""
    between = float(whole.var(0).mean().sqrt())
    spread = max(between, 1e-3 * float(whole.abs().max()), 1e-12)
    return float((whole - half).square().mean().sqrt()) / spread
