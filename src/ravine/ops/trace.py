"""Traces a network's forward pass in evaluation mode, as torch dispatches its operations.

Ravine's layers run operations of torch one by one meanwhile. The trace is of one image: what holds
for it must hold for every batch, so an operation that mixes images, or that is not known, makes the
network untraceable.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ravine.ops.traced_graph import Node, TracedGraph, UntraceableError
from ravine.ops.traced_operations import (
    IGNORED,
    OPERATIONS,
    VIEWS,
    TracedCall,
    aten,
    response_norm,
)
from ravine.ops.traced_values import TracedValues


def trace(network: nn.Module, shape: tuple[int, int, int]) -> TracedGraph:
    """Returns the graph of a network in evaluation mode, on the CPU in float32.

    Args:
        network: from images (B, C, H, W) to logits (B, K).
        shape: (C, H, W).

    Raises:
        UntraceableError: it computes something else than what this file knows.
    """
    image = torch.zeros(1, *shape).contiguous(memory_format=torch.channels_last)
    values = TracedValues(image, network)
    recorder = _Recorder(values)
    with torch.no_grad(), _SingleOperations(recorder), recorder:
        logits = network(image)
    if recorder.unknown is not None:
        raise UntraceableError(recorder.unknown)
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
        raise UntraceableError("the result is not (B, K)")
    return TracedGraph(tuple(recorder.nodes), values.shapes, values.value(logits))


class _SingleOperations(TorchFunctionMode):
    """Present so that Ravine's layers run operations of torch (`operations_are_observed`).

    What is a node of the graph, but many operations of torch, is noted here as a whole.
    """

    def __init__(self, recorder: "_Recorder") -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is not F.local_response_norm:
            return function(*args, **(kwargs or {}))
        self.recorder.is_paused = True
        try:
            result = function(*args, **(kwargs or {}))
        finally:
            self.recorder.is_paused = False
        self.recorder.record_response_norm(result, *args, **(kwargs or {}))
        return result


class _Recorder(TorchDispatchMode):
    def __init__(self, values: TracedValues) -> None:
        super().__init__()
        self.values = values
        self.nodes: list[Node] = []
        self.unknown: str | None = None
        self.is_paused = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Without a wrapper of torch's compiler, whose import takes a second."""
        return False

    def __torch_dispatch__(self, op: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = op(*args, **(kwargs or {}))
        self.values.keep((args, result))
        if not self.is_paused:
            self._note(str(op), lambda: self._record(op, args, kwargs or {}, result))
        return result

    def record_response_norm(self, result: Any, input: Any, *args: Any, **kwargs: Any) -> None:
        """Notes a call of `F.local_response_norm`, whose words for its arguments these are."""
        call = TracedCall(self.values, (input,), {}, result)
        self._note(
            "local_response_norm",
            lambda: self.nodes.append(response_norm(call, *args, **kwargs)),
        )

    def _note(self, name: str, record: Callable[[], None]) -> None:
        if self.unknown is None:
            try:
                record()
            except (UntraceableError, RuntimeError, TypeError, ValueError) as error:
                self.unknown = f"{name}: {error}"

    def _record(self, op: Any, args: Any, kwargs: Any, result: Any) -> None:
        if op in IGNORED or (op in VIEWS and self.values.is_constant(args[0])):
            return
        if op in VIEWS:
            self.values.alias(args[0], result)
        elif op is aten.slice.Tensor:
            self.values.subsample(result, *args)
        elif op in OPERATIONS:
            found = OPERATIONS[op](TracedCall(self.values, args, kwargs, result))
            self.nodes.append(found)
        else:
            raise UntraceableError("not known")
