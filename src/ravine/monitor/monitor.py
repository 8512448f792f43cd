"""Looks inside a network while anybody's loop trains it, and changes nothing.

    with ravine.Monitor(model, optimizer) as monitor:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(images), labels)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
    print(monitor.findings)

Around the optimizer's step: norms of gradients, update-to-weight ratios, effective rates. Now and
then beside it: a few examples of the batch once more, eagerly, layer by layer (`probe.py`). The
training is bitwise the same with and without; `pace.py` keeps the cost at a share of its time.
"""

import math
from collections import deque
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ravine.core.errors import SettingError
from ravine.core.validation import check_range
from ravine.findings.finding import Findings, merge
from ravine.findings.history_detectors import find_over_time, trace
from ravine.findings.layer_detectors import NotFinite, find_in_looks
from ravine.findings.target_floor import floor_of_softmax, known_floor
from ravine.monitor.capture import Capture
from ravine.monitor.dead_units import Silence
from ravine.monitor.host_copies import Copies, fold, unfold
from ravine.monitor.metric_buffer import Diary
from ravine.monitor.overhead import Pace
from ravine.monitor.snapshot import LayerLook, look_inside
from ravine.monitor.update_statistics import Update, effective_rates, gradient_sizes
from ravine.optim.transaction import Transaction
from ravine.runs.layers_file import append_not_finite, append_snapshot

_SAFETY = 0.75  # of the share: caches that a look leaves cold are not on the clock
_FLOORS = 256  # that are remembered
_WITHIN = 32  # steps after which norms are read at the latest


@final
class Monitor:
    """Watches a network in the loop that trains it; a context around that loop.

    Args:
        model: as it is called in the loop: plain, from torch.compile, or wrapped for DDP (every
            process then watches its own part; hooks send nothing).
        optimizer: of torch or of this package, or a `ravine.optim.Transaction`.
        path: layers.jsonl to append to; None keeps the looks in memory alone.
        share: of the time of the steps that the monitor may take, in (0, 1).
        every: steps from look to look; None to look as often as `share` allows.
        examples: of a batch that a look runs again, at least 2 where the batch has them.

    Attributes:
        step: the optimizer's steps so far.
        not_finite: the first value that was not finite, or None.
        notes: what could not be looked at, and why.

    Raises:
        SettingError: an argument is out of its range, or the optimizer holds nothing of the model.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Transaction,
        *,
        path: str | Path | None = None,
        share: float = 0.01,
        every: int | None = None,
        examples: int = 8,
    ) -> None:
        check_range("share", share, low=0.0, high=1.0, low_open=True, high_open=True)
        check_range("examples", examples, low=1)
        if every is not None:
            check_range("every", every, low=1)
        self._transaction = optimizer if isinstance(optimizer, Transaction) else None
        self._optimizer = optimizer.optimizer if isinstance(optimizer, Transaction) else optimizer
        self._called, self._model = model, unwrapped(model)
        self._parameters = self._transaction_order() or _named(self._model, self._optimizer)
        device = next(iter(self._parameters.values())).device
        self._path, self._examples = None if path is None else Path(path), examples
        self._pace = Pace(_SAFETY * share, every, device)
        self._copies, self._diary, self._silence = Copies(), Diary(), Silence()
        self._floors: deque[float] = deque(maxlen=_FLOORS)
        self._answers: tuple[Tensor, Tensor] | None = None
        self._capture: Capture | None = None
        self._handles: list[RemovableHandle] = []
        self._is_due = True
        self._update: Update | None = None
        self._seen: dict[str, Any] | None = None
        self._sizes: Tensor | None = None
        self._uncleared: Tensor | None = None
        self._backward_begun = False
        self._pending: list[tuple[int, Tensor]] = []
        self._is_on_cpu = device.type == "cpu"
        self._can_probe = not _talks_to_others(self._model)
        self.step = 0
        self.not_finite: NotFinite | None = None
        self.notes: list[str] = []
        if not self._can_probe:
            self.notes.append(
                "layers are not looked at: SyncBatchNorm would make all processes wait"
            )

    def __enter__(self) -> Self:
        """Puts the hooks on."""
        if self._handles:
            raise SettingError("this monitor is on already; make a second one for a second loop")
        self._capture = Capture(self._called, self._examples, self._on_backward)
        self._capture.keeping = self._is_due and self._can_probe
        self._handles = [
            self._optimizer.register_step_pre_hook(self._before_step),
            self._optimizer.register_step_post_hook(self._after_step),
        ]
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Takes the hooks away, and reads what is still under way."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._capture is not None:
            self._capture.close()
        self._send_norms()
        self._diary.send(self._copies)
        self._copies.collect(wait=True)

    @property
    def looks(self) -> list[dict[str, Any]]:
        """What was seen so far, oldest first, thinned out in long runs: rows as in layers.jsonl."""
        self._copies.collect()
        return list(self._diary.looks)

    @property
    def overhead(self) -> float:
        """The monitor's own time over that of the steps; NaN before the second step."""
        return self._pace.overhead

    @property
    def findings(self) -> Findings:
        """What is wrong, as far as the looks and the recorded losses show it."""
        self._send_norms()
        self._diary.send(self._copies)
        self._copies.collect(wait=True)
        history = trace(
            self._diary.rows,
            normalised=_has_batch_norm(self._model),
            floor=known_floor(self._floors),
        )
        return merge(
            [
                *find_over_time(history),
                *find_in_looks(self._diary.looks, not_finite=self.not_finite),
            ]
        )

    def record(
        self,
        *,
        loss: Tensor | float,
        split: str = "train",
        accuracy: float | None = None,
    ) -> None:
        """Tells the monitor what it cannot see.

        Args:
            loss: one number; a tensor stays on its device until a look is read.
            split: train for the loss of a step, anything else for one of held-out data: several
                of one step are averaged.
            accuracy: in [0, 1], where it is known.

        Raises:
            SettingError: the loss is not one number.
        """
        if isinstance(loss, Tensor):
            if loss.numel() != 1:
                shape = tuple(loss.shape)
                raise SettingError(f"loss must be one number, got the shape {shape}; take .mean()")
            loss = loss.detach().reshape(())
        rate = float(self._optimizer.param_groups[0]["lr"])
        with self._pace.counting():
            self._diary.add(self.step, loss, split=split, accuracy=accuracy, rate=rate)
            if split == "train":
                self._take_floor(loss)
            if self._diary.is_full:
                self._diary.send(self._copies)

    def _take_floor(self, loss: Tensor | float) -> None:
        """Asks logits and gradient of the last call, where they are kept, for their targets."""
        held = self._answers or (self._capture and self._capture.take_answers())
        self._answers = None
        if held:
            self._copies.send([floor_of_softmax(*held, loss)], self._floors.extend)

    # --- around the optimizer's step

    def _before_step(self, *_: Any) -> None:
        self.step += 1
        if self._transaction is None and (self._is_due or self._pace.affords_norms):
            with self._pace.counting(norms=True):
                self._take_norms(gradient_sizes(list(self._parameters.values())))
        if self._is_due:
            with self._pace.counting(look=True):
                assert self._capture is not None
                # Before the look, which calls the network again.
                self._answers = self._capture.take_answers()
                self._seen = {"layers": self._look()}
                self._update = Update(self._parameters)

    def _after_step(self, *_: Any) -> None:
        with self._pace.counting():
            if self._transaction is not None:
                self._take_norms(self._transaction.sizes())
            if self._is_due:
                self._finish_look()
        self._pace.step_done()
        with self._pace.counting():
            self._copies.collect()
            self._is_due = self._pace.is_due(self.step + 1)
            self._backward_begun = False
            assert self._capture is not None
            self._capture.keeping = self._is_due and self._can_probe

    # --- norms, and the first value that is not finite

    def _take_norms(self, sizes: Tensor) -> None:
        self._sizes = sizes
        if self._is_on_cpu:
            if self.not_finite is None and not bool(sizes.isfinite().all()):
                self._keep_not_finite(self._located(sizes))
            return
        self._pending.append((self.step, sizes))
        if len(self._pending) >= _WITHIN:
            self._send_norms()

    def _send_norms(self) -> None:
        """Sends the norms of several steps together, to be searched when they arrive."""
        if not self._pending:
            return
        steps, sizes = zip(*self._pending, strict=True)
        self._pending = []

        def search(numbers: list[float]) -> None:
            rows = torch.tensor(numbers, dtype=torch.float64).reshape(len(steps), -1)
            for step, row in zip(steps, rows, strict=True):
                if self.not_finite is None and not bool(row.isfinite().all()):
                    self._keep_not_finite(self._by_norms(step, row))

        self._copies.send(list(sizes), search)

    def _keep_not_finite(self, found: NotFinite) -> None:
        self.not_finite = found
        if self._path is not None:
            append_not_finite(self._path, asdict(found))

    def _located(self, sizes: Tensor) -> NotFinite:
        """Finds where it began, by the whole batch once more while weights are as they were."""
        for layer in self._forward_again():
            if layer.kind != "residual" and not all(
                bool(value.isfinite()) for value in layer.values.values()
            ):
                return NotFinite(step=self.step, layer=layer.name, direction="forward")
        return self._by_norms(self.step, sizes)

    def _forward_again(self) -> list[LayerLook]:
        call = self._capture.call if self._capture is not None else None
        if call is None or not self._can_probe:
            return []
        try:
            return look_inside(self._model, call)
        except Exception as error:
            self._give_up(error)
            return []

    def _by_norms(self, step: int, sizes: Tensor) -> NotFinite:
        """Takes the broken gradient that is nearest to the output; all broken: the loss was."""
        names = [n for n, p in self._parameters.items() if p.requires_grad]
        broken = [name for name, size in zip(self._parameters, sizes.tolist(), strict=True)
                  if not math.isfinite(size)]  # fmt: skip
        if len(broken) == len(names):
            return NotFinite(step=step, layer=None, direction="forward")
        return NotFinite(step=step, layer=broken[-1].rpartition(".")[0], direction="backward")

    # --- a look

    def _on_backward(self) -> None:
        """Notes whether gradients are there before the first backward pass of a step."""
        if self._backward_begun or self.step == 0:
            return
        self._backward_begun = True
        few = sorted(self._parameters.values(), key=lambda p: p.numel())[:4]
        held = [p.grad.detach().any() for p in few if p.grad is not None and not p.grad.is_sparse]
        self._uncleared = torch.stack(held).any().double() if held else None

    def _look(self) -> dict[str, Any]:
        capture = self._capture
        if not self._can_probe or capture is None or capture.call is None:
            return {}
        try:
            looks = look_inside(self._model, capture.call.first(self._examples), capture.asked)
        except Exception as error:
            self._give_up(error)
            return {}
        return {one.name: {"kind": one.kind, **self._silence.values(one)} for one in looks}

    def _give_up(self, error: Exception) -> None:
        self._can_probe = False
        text = str(error).partition("\n")[0]
        self.notes.append(f"layers are not looked at: {type(error).__name__}: {text}")

    def _finish_look(self) -> None:
        assert self._seen is not None
        assert self._update is not None
        parameters: dict[str, dict[str, Any]] = self._update.values()
        rates = {id(p): rate for p, rate in effective_rates(self._optimizer)}
        sizes = self._sizes
        for place, (name, p) in enumerate(self._parameters.items()):
            row = parameters.setdefault(name, {})
            if sizes is not None:
                row["gradient_norm"] = sizes[place]
            row["rate"] = rates.get(id(p), math.nan)
        row = {
            "kind": "look",
            "step": self.step,
            "lr": float(self._optimizer.param_groups[0]["lr"]),
            **self._seen,
            "parameters": parameters,
        }
        if self._uncleared is not None:
            row["uncleared"] = self._uncleared
        self._update = self._seen = self._uncleared = self._sizes = None
        self._pace.looked(self.step)
        self._send_norms()
        self._diary.send(self._copies)
        found, rest = unfold(row)
        self._copies.send(
            [t for _, t in found], lambda n: self._keep(rest, [k for k, _ in found], n)
        )

    def _keep(
        self, row: dict[str, Any], paths: list[tuple[str, ...]], numbers: list[float]
    ) -> None:
        fold(row, paths, numbers)
        row["overhead"] = self.overhead
        self._diary.keep_look(row)
        if self._path is not None:
            append_snapshot(self._path, row)

    def _transaction_order(self) -> dict[str, Tensor]:
        return {} if self._transaction is None else dict(self._transaction.parameters)


def unwrapped(model: nn.Module) -> nn.Module:
    """Returns the network inside torch.compile's and data-parallel wrappers."""
    if type(model).__name__ == "OptimizedModule":  # whose import costs a second
        return unwrapped(model._modules["_orig_mod"] or model)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrapped(model.module)
    return model


def _named(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Returns the parameters that the optimizer holds, in the order of the network."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if id(p) in held}
    if not found:
        raise SettingError(
            "the optimizer holds no parameter of this model; pass the optimizer that trains it"
        )
    return found


def _talks_to_others(model: nn.Module) -> bool:
    return (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())
    )


def _has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
