"""Layer statistics and findings of a network while any loop trains it; the training is the same.

    with ravine.Monitor(model, optimizer) as monitor:
        for images, labels in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(images), labels)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
    print(monitor.findings)

Around the optimizer's step: norms of gradients, update-to-weight ratios, effective learning rates
(`update_statistics.py`). In a snapshot also statistics of each layer: a few examples of the batch
run once more, eagerly (`layer_probe.py`). The training is bitwise the same with and without;
`overhead.py` keeps the cost at a share of its time.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from ravine.core.compiled import unwrapped
from ravine.core.errors import SettingError
from ravine.core.snapshot import LayerStatistics, NotFinite, Snapshot
from ravine.core.validation import check_range
from ravine.findings.finding import Findings
from ravine.findings.monitored_run import findings_of_run
from ravine.findings.run_trace import trace
from ravine.findings.target_floor import are_known, floor_of_softmax, known_floor
from ravine.findings.thresholds import AGREES
from ravine.monitor.capture import Capture
from ravine.monitor.dead_units import DeadUnits
from ravine.monitor.evaluation_probe import EvaluationProbe
from ravine.monitor.host_copies import HostCopies
from ravine.monitor.layer_probe import ProbedLayer, probe_layers
from ravine.monitor.loop_watch import LoopWatch
from ravine.monitor.metric_buffer import MetricBuffer, one_number
from ravine.monitor.overhead import OverheadBudget
from ravine.monitor.update_statistics import (
    UpdateRatios,
    gradient_norms,
    not_finite_by_norms,
    parameter_statistics,
)
from ravine.monitor.watched_model import (
    has_batch_norm,
    learning_parameters,
    optimized_parameters,
    synchronises_processes,
    watched_optimizer,
)
from ravine.optim.transaction import Transaction
from ravine.runs.layers_file import append_not_finite, append_snapshot, snapshot_row

_SAFETY = 0.75  # of the share: caches that a snapshot leaves cold are not on the clock
_FLOORS = 256  # that are remembered
_MOST_PENDING = 32  # steps after which norms are read at the latest


@final
class Monitor:
    """Watches a network in the loop that trains it; a context around that loop.

    Args:
        model: as it is called in the loop: plain, from torch.compile, or wrapped for DDP (every
            process then watches its own shard; hooks send nothing).
        optimizer: of torch or of this package, or a `ravine.optim.Transaction`; None for whichever
            steps weights of the model, in a loop that makes its own.
        path: layers.jsonl to append to; None keeps the snapshots in memory alone.
        share: of the time of the steps that the monitor may take, in (0, 1).
        every: steps from snapshot to snapshot; None for as many as `share` allows.
        examples: of a batch that a snapshot runs again, at least 2 where the batch has them.

    Attributes:
        step: the optimizer's steps so far.
        not_finite: the first value that was not finite, or None.
        notes: what could not be measured, and why.

    Raises:
        SettingError: an argument is out of its range, or nothing in the model learns.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Transaction | None,
        *,
        path: str | Path | None = None,
        share: float = 0.006,
        every: int | None = None,
        examples: int = 8,
    ) -> None:
        check_range("share", share, low=0.0, high=1.0, low_open=True, high_open=True)
        check_range("examples", examples, low=1)
        if every is not None:
            check_range("every", every, low=1)
        self._transaction = optimizer if isinstance(optimizer, Transaction) else None
        self._called, self._model = model, unwrapped(model)
        self._optimizer = watched_optimizer(self._model, optimizer)
        in_transaction = {} if self._transaction is None else dict(self._transaction.parameters)
        held = in_transaction or optimized_parameters(self._model, self._optimizer)
        self._parameters = held or learning_parameters(self._model)
        device = next(iter(self._parameters.values())).device
        self._is_on_cpu = device.type == "cpu"
        self._path, self._examples = None if path is None else Path(path), examples
        self._budget = OverheadBudget(_SAFETY * share, every, device)
        self._copies, self._buffer, self._dead = HostCopies(), MetricBuffer(), DeadUnits()
        self._floors: deque[float] = deque(maxlen=_FLOORS)
        self._can_probe = not synchronises_processes(self._model)
        parameters = list(self._parameters.values())
        self._watch = LoopWatch(self._model, self._optimizer, parameters, is_foreign=not held)
        self._evaluated = EvaluationProbe()
        self.step = 0
        self.not_finite: NotFinite | None = None
        self.notes: list[str] = []
        if not self._can_probe:
            self.notes.append("layers are not measured: SyncBatchNorm makes all processes wait")
        self._begin_step_state()

    def _begin_step_state(self) -> None:
        """Sets what a step collects, and the hooks, to nothing."""
        self._logits: tuple[Tensor, Tensor] | None = None
        self._capture: Capture | None = None
        self._handles: list[RemovableHandle] = []
        self._is_due = True
        self._layers: dict[str, LayerStatistics[Tensor | float]] = {}
        self._ratios: UpdateRatios | None = None
        self._norms: Tensor | None = None
        self._uncleared: Tensor | None = None
        self._backward_begun = False
        self._pending: list[tuple[int, Tensor]] = []

    def __enter__(self) -> Self:
        """Registers the hooks."""
        if self._handles:
            raise SettingError("this monitor is on already; make a second one for a second loop")
        self._capture = Capture(self._called, self._examples, self._on_backward, self._watch)
        self._watch.open()
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
        """Removes the hooks, and reads the numbers that have not arrived yet."""
        self._probe_evaluation()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._watch.losses and not self._watch.calls:
            self.notes.append("the watched network was never called: pass the one the loop calls")
        self._watch.close()
        if self._capture is not None:
            self._capture.close()
        self._read_all()

    @property
    def snapshots(self) -> tuple[Snapshot[float], ...]:
        """The snapshots so far, oldest first, thinned out in long runs."""
        self._copies.collect()
        return tuple(self._buffer.snapshots)

    @property
    def looks(self) -> list[dict[str, Any]]:
        """The snapshots so far as rows of layers.jsonl, with all digits."""
        return [snapshot_row(one) for one in self.snapshots]

    @property
    def overhead(self) -> float:
        """The monitor's own time over that of the steps; NaN before the second step."""
        return self._budget.overhead

    @property
    def findings(self) -> Findings:
        """What is wrong, as far as the snapshots and the recorded losses show it."""
        self._read_all()
        record = self._watch.record(self.step, self._probe_evaluation())
        agree = math.isnan(record.modes_agree) or record.modes_agree < AGREES
        history = trace(
            self._buffer.rows,
            classes=record.classes if are_known(self._floors) else None,
            normalised=has_batch_norm(self._model) and agree,
            floor=known_floor(self._floors),
        )
        snapshots = self._buffer.snapshots
        return findings_of_run(record, history, snapshots, not_finite=self.not_finite)

    def _probe_evaluation(self) -> Mapping[str, Any]:
        """Returns what passes on kept examples tell, once for each step."""
        capture = self._capture
        if capture is None or not self._can_probe or not self._watch.losses:
            return {}
        if self._evaluated.step == self.step or not self._handles:
            return self._evaluated.found
        if capture.call is not None:
            self._watch.keep_training((capture.call.args, capture.call.kwargs))
        try:
            with capture.probing():
                self._read_all()
                self._evaluated.probe(self._model, self._watch, self._buffer.rows, step=self.step)
        except Exception as error:
            self._stop_probing(error)
        return self._evaluated.found

    def record(
        self,
        *,
        loss: Tensor | float,
        split: str = "train",
        accuracy: float | None = None,
    ) -> None:
        """Records a loss, which the monitor cannot see by itself.

        Args:
            loss: one number; a 0-dim tensor stays on its device until the next snapshot.
            split: train for the loss of a step, anything else for one of held-out data: several
                of one step are averaged.
            accuracy: in [0, 1], where it is known.

        Raises:
            SettingError: the loss is not one number.
        """
        if isinstance(loss, Tensor):
            loss = one_number(loss)
        lr = float(self._optimizer.param_groups[0]["lr"])
        with self._budget.timed():
            self._watch.on_loss(self.step, split)
            self._buffer.add(self.step, loss, split=split, accuracy=accuracy, lr=lr)
            if split == "train":
                self._take_floor(loss)
            if self._buffer.is_full:
                self._buffer.send(self._copies)

    def _take_floor(self, loss: Tensor | float) -> None:
        """Derives the floor of the targets from logits and gradient of the last call, if kept."""
        held = self._logits or (self._capture and self._capture.take_logits())
        self._logits = None
        if held:
            self._copies.send([floor_of_softmax(*held, loss)], self._floors.extend)

    def _read_all(self) -> None:
        self._send_norms()
        self._buffer.send(self._copies)
        self._copies.collect(wait=True)

    def _before_step(self, *_: Any) -> None:
        self.step += 1
        if self._transaction is None and (self._is_due or self._budget.affords_norms):
            with self._budget.timed(norms=True):
                self._take_norms(gradient_norms(list(self._parameters.values())))
        if self._is_due:
            with self._budget.timed(snapshot=True):
                assert self._capture is not None
                # Before the probe, which calls the network again.
                self._logits = self._capture.take_logits()
                self._layers = self._layer_statistics()
                self._ratios = UpdateRatios(self._parameters)

    def _after_step(self, *_: Any) -> None:
        with self._budget.timed():
            self._watch.after_step()
            if self._capture is not None:
                self._capture.step = self.step
            if self._transaction is not None:
                self._take_norms(self._transaction.sizes())
            if self._is_due:
                self._finish_snapshot()
        self._budget.step_done()
        with self._budget.timed():
            self._copies.collect()
            self._is_due = self._budget.is_due(self.step + 1)
            self._backward_begun = False
            assert self._capture is not None
            self._capture.keeping = self._is_due and self._can_probe

    def _take_norms(self, norms: Tensor) -> None:
        self._norms = norms
        if self._is_on_cpu:
            if self.not_finite is None and not bool(norms.isfinite().all()):
                self._keep_not_finite(self._located(norms))
            return
        self._pending.append((self.step, norms))
        if len(self._pending) >= _MOST_PENDING:
            self._send_norms()

    def _send_norms(self) -> None:
        """Sends the norms of several steps together, to be searched when they arrive."""
        if not self._pending:
            return
        steps, norms = zip(*self._pending, strict=True)
        self._pending = []

        def search(numbers: list[float]) -> None:
            rows = torch.tensor(numbers, dtype=torch.float64).reshape(len(steps), -1)
            for step, row in zip(steps, rows, strict=True):
                if self.not_finite is None and not bool(row.isfinite().all()):
                    self._keep_not_finite(not_finite_by_norms(step, self._parameters, row))

        self._copies.send(list(norms), search)

    def _keep_not_finite(self, found: NotFinite) -> None:
        self.not_finite = found
        if self._path is not None:
            append_not_finite(self._path, found)

    def _located(self, norms: Tensor) -> NotFinite:
        """Returns where it began, by a forward pass of the whole batch before the update."""
        for layer in self._forward_again():
            if layer.kind != "residual" and not layer.is_finite:
                return NotFinite(step=self.step, layer=layer.name, direction="forward")
        return not_finite_by_norms(self.step, self._parameters, norms)

    def _forward_again(self) -> list[ProbedLayer]:
        call = self._capture.call if self._capture is not None else None
        if call is None or not self._can_probe:
            return []
        assert self._capture is not None
        try:
            with self._capture.probing():
                return probe_layers(self._model, call)
        except Exception as error:
            self._stop_probing(error)
            return []

    def _on_backward(self) -> None:
        """Notes whether gradients are there before the first backward pass of a step."""
        if self._backward_begun or self.step == 0:
            return
        self._backward_begun = True
        few = sorted(self._parameters.values(), key=lambda p: p.numel())[:4]
        held = [p.grad.detach().any() for p in few if p.grad is not None and not p.grad.is_sparse]
        self._uncleared = torch.stack(held).any().double() if held else None

    def _layer_statistics(self) -> dict[str, LayerStatistics[Tensor | float]]:
        capture = self._capture
        if not self._can_probe or capture is None or capture.call is None:
            return {}
        try:
            call = capture.call.first(self._examples)
            with capture.probing():
                layers = probe_layers(self._model, call, capture.output_gradients)
        except Exception as error:
            self._stop_probing(error)
            return {}
        return {layer.name: layer.statistics(self._dead.share(layer)) for layer in layers}

    def _stop_probing(self, error: Exception) -> None:
        self._can_probe = False
        text = str(error).partition("\n")[0]
        self.notes.append(f"layers are not measured: {type(error).__name__}: {text}")

    def _finish_snapshot(self) -> None:
        assert self._ratios is not None
        snapshot: Snapshot[Tensor | float] = Snapshot(
            step=self.step,
            lr=float(self._optimizer.param_groups[0]["lr"]),
            layers=self._layers,
            parameters=parameter_statistics(
                self._parameters, self._optimizer, self._ratios, self._norms
            ),
            uncleared=self._uncleared,
        )
        self._ratios = self._uncleared = self._norms = None
        self._layers = {}
        self._budget.snapshot_taken(self.step)
        self._send_norms()
        self._buffer.send(self._copies)
        self._copies.send_snapshot(snapshot, self._keep)

    def _keep(self, arrived: Snapshot[float]) -> None:
        snapshot = replace(arrived, overhead=self.overhead)
        self._buffer.add_snapshot(snapshot)
        if self._path is not None:
            append_snapshot(self._path, snapshot)
