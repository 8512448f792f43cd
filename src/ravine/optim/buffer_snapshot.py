"""Copies of a model's buffers (batch-norm statistics) from before a step, without a call.

A snapshot is taken on the first forward pass that a gradient can flow back from, and again after
each step and each `load_state_dict`, so that one is never older than the current step. The hooks
are functions of this file that read a table: a copy or a pickle of the model takes no
snapshot with it. A forward pass that runs no hook (compiled code, a CUDA graph, `model.forward`)
goes back to the end of the step before it.
"""

import weakref
from typing import Any, final

import torch
from torch import Tensor, nn

_SNAPSHOTS: "weakref.WeakKeyDictionary[nn.Module, weakref.WeakSet[BufferSnapshot]]" = (
    weakref.WeakKeyDictionary()
)


@final
class BufferSnapshot:
    """A copy of a model's buffers as they were before the current step.

    Args:
        model: whose modules' buffers are kept, also where another tensor replaces a buffer
            (`.to()`, `assign=True`); None for no buffers.
    """

    def __init__(self, model: nn.Module | None) -> None:
        self._modules = [] if model is None else list(model.modules())
        self._slots: list[tuple[nn.Module, str]] = []
        self._held: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []
        self._begun = False
        self.renew()
        if model is not None:
            _SNAPSHOTS.setdefault(model, weakref.WeakSet()).add(self)
            for handle in (
                model.register_forward_pre_hook(_before_forward),
                model.register_load_state_dict_post_hook(_after_load),
            ):
                weakref.finalize(self, handle.remove)

    def begin(self) -> None:
        """Takes the snapshot that the current step goes back to."""
        self._take()
        self._begun = True

    def begin_once(self) -> None:
        """Begins, unless the current step has begun: several passes may add up to one step."""
        if not self._begun:
            self.begin()

    def renew(self) -> None:
        """Takes a snapshot between two steps; the next step has not begun."""
        self._take()
        self._begun = False

    @torch.no_grad()
    def restore(self, ok: Tensor) -> None:
        """Puts the buffers back where `ok`, 0-dim bool, is False; it is read on the CPU alone.

        A buffer whose shape has changed within the step stays as it is.
        """
        is_read = ok.device.type == "cpu"
        if is_read and ok:
            return
        for (module, name), before in zip(self._slots, self._copies, strict=True):
            now = module._buffers.get(name)
            if now is not None and now.shape == before.shape:
                now.copy_(before if is_read else torch.where(ok, now, before))

    @torch.no_grad()
    def _take(self) -> None:
        held = [b for m in self._modules for b in m._buffers.values() if b is not None]
        if not self._fits(held):
            self._arrange(held)
        for copies, originals in self._groups:
            torch._foreach_copy_(copies, originals)

    def _fits(self, held: list[Tensor]) -> bool:
        return len(held) == len(self._held) and all(
            now is known and now.shape == copy.shape
            for now, known, copy in zip(held, self._held, self._copies, strict=True)
        )

    def _arrange(self, held: list[Tensor]) -> None:
        """Makes room for copies of these buffers: one list for each kind, one launch each."""
        self._held, self._copies = held, [b.detach().clone() for b in held]
        self._slots = [
            (m, name) for m in self._modules for name, b in m._buffers.items() if b is not None
        ]
        groups: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], list[Tensor]]] = {}
        for copy, original in zip(self._copies, held, strict=True):
            lists = groups.setdefault((original.dtype, original.device), ([], []))
            lists[0].append(copy)
            lists[1].append(original)
        self._groups = list(groups.values())


def _before_forward(module: nn.Module, _args: tuple[Any, ...]) -> None:
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return
    if not (torch.is_grad_enabled() and module.training):
        return
    for snapshot in _SNAPSHOTS.get(module, ()):
        snapshot.begin_once()


def _after_load(module: nn.Module, _keys: Any) -> None:
    for snapshot in _SNAPSHOTS.get(module, ()):
        snapshot.renew()
