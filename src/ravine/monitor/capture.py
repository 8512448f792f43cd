"""The arguments and output gradients of a network's last call, by hooks on its outermost module.

Calls without gradients are counted alone (`loop_watch.py`).

The hooks are functions of this file that look into a table, so that a network that is copied or
pickled inside the loop takes nothing of the monitor with it. They run outside compiled code.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ravine.core.nested import tensors_in
from ravine.monitor.layer_probe import Call
from ravine.monitor.loop_watch import LoopWatch

_MOST = 1 << 18  # numbers of an output that are kept whole
_CAPTURES: "dict[nn.Module, Capture]" = {}  # of monitors that are open


@final
class Capture:
    """The last call of a network with gradients enabled.

    Args:
        module: as it is called in the loop: plain, compiled or wrapped.
        examples: of which dL/d(output) is kept.
        on_backward: called when a backward pass reaches the output of a call, where `keeping`.
        watch: is told of every call.

    Attributes:
        step: that has been taken; set by the monitor.
        is_probing: the monitor itself calls the network, which is not counted.
        call: the arguments, by reference, until the next call; None before the first.
        keeping: whether dL/d(output) is kept; set before the call.
        output_gradients: dL/d(output) of each tensor of the output, of the first examples.
    """

    def __init__(
        self,
        module: nn.Module,
        examples: int,
        on_backward: Callable[[], None],
        watch: LoopWatch,
    ) -> None:
        self.watch, self.step, self.is_probing = watch, 0, False
        self.call: Call | None = None
        self.keeping = False
        self.output_gradients: list[Tensor | None] = []
        self._logits: Tensor | None = None
        self._logit_gradient: Tensor | None = None
        self._examples, self._on_backward = examples, on_backward
        self._module = module
        _CAPTURES[module] = self
        self._handles: list[RemovableHandle] = [
            module.register_forward_pre_hook(_before_forward, with_kwargs=True),
            module.register_forward_hook(_after_forward),
        ]

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Calls inside are the monitor's own, and are not counted."""
        self.is_probing = True
        try:
            yield
        finally:
            self.is_probing = False

    def close(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()
        _CAPTURES.pop(self._module, None)
        self.call, self.output_gradients = None, []
        self._logits = self._logit_gradient = None

    def take_logits(self) -> tuple[Tensor, Tensor] | None:
        """Returns the output (N, K) and dL/d(output) of all examples, once.

        None where they are not kept: not `keeping`, no backward pass yet, or not one such tensor.
        """
        logits, gradient = self._logits, self._logit_gradient
        self._logits = self._logit_gradient = None
        return None if logits is None or gradient is None else (logits, gradient)

    def begin(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Records the arguments of a call."""
        tensors = tensors_in([args, dict(kwargs)])
        device = tensors[0].device.type if tensors else "cpu"
        autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        self.call = Call(args=args, kwargs=dict(kwargs), device=device, autocast=autocast)
        self.output_gradients = []
        self._logits = self._logit_gradient = None

    def end(self, output: Any) -> None:
        """Registers hooks that keep dL/d(output) of the first examples."""
        if self.call is None or not self.keeping:
            return
        batch = next((len(t) for t in self.call.tensors if t.dim()), 0)
        outputs = tensors_in(output)
        gradients: list[Tensor | None] = [None] * len(outputs)
        self.output_gradients = gradients
        if len(outputs) == 1 and outputs[0].dim() == 2 and outputs[0].numel() <= _MOST:
            self._logits = outputs[0].detach().clone()

        def keep(index: int, gradient: Tensor) -> None:
            self._on_backward()
            is_batched = gradient.dim() > 0 and len(gradient) == batch
            if self._logits is not None and self.output_gradients is gradients:
                self._logit_gradient = gradient.detach().clone()
            kept = gradient[: self._examples] if is_batched else gradient
            gradients[index] = kept.detach().clone()

        for index, tensor in enumerate(outputs):
            if tensor.requires_grad:
                tensor.register_hook(_hook(keep, index))


def _hook(keep: Callable[[int, Tensor], None], index: int) -> Callable[[Tensor], None]:
    return lambda gradient: keep(index, gradient)


def _capture_of(module: nn.Module) -> Capture | None:
    if torch.compiler.is_compiling():
        return None
    capture = _CAPTURES.get(module)
    return None if capture is None or capture.is_probing else capture


def _before_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    capture = _capture_of(module)
    if capture is None:
        return
    if torch.is_grad_enabled():
        capture.watch.on_training_pass(capture.step, (args, kwargs), training=module.training)
        capture.begin(args, kwargs)
    else:
        held = capture.call
        trained = None if held is None else (held.args, held.kwargs)
        capture.watch.on_plain_pass((args, kwargs), trained, training=module.training)


def _after_forward(module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
    capture = _capture_of(module)
    if capture is not None and torch.is_grad_enabled():
        capture.end(output)
