"""Several processes, one step: gradients, batch-norm statistics and metrics of the whole batch.

Each process computes its part of the batch. Before the step is decided, everything that it found
is written into one flat tensor, each part times its share of the batch, and summed over the
processes in one call. All processes then decide, clip, skip and step alike, on the same bits.

Batch norm normalises by the images of one process; its running statistics are the mean over the
processes, so that a checkpoint holds those of all.

Shape letters: N images, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from ravine.core.ranks import Ranks
from ravine.data.batches import Batch, evaluation_batches
from ravine.data.dataset import Dataset
from ravine.training.evaluation import class_probabilities
from ravine.training.shared_memory_sum import SharedSum

_STATISTICS = ("running_mean", "running_var")


@final
class GradientSync:
    """Sums what the processes found in a step.

    Args:
        ranks: the processes.
        model: whose gradients and statistics are summed; on every process the same.
        class_weights: (K,) of the loss, whose mean over labels is by weight; or None.
    """

    def __init__(
        self, ranks: Ranks, model: nn.Module, *, class_weights: Tensor | None = None
    ) -> None:
        self.ranks = ranks
        self._class_weights = class_weights
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        named = model.named_buffers()
        self._statistics = [b for name, b in named if name.rpartition(".")[2] in _STATISTICS]
        tensors = [*self._parameters, *self._statistics]
        count = sum(tensor.numel() for tensor in tensors) + 3  # the floor, the loss, the hits
        self._sum = SharedSum(ranks, count, tensors[0].device)
        self._tensors = tensors
        self._views: dict[int, list[Tensor]] = {}  # by the address of what they are views of
        self._gradients = sum(p.numel() for p in self._parameters)

    @torch.no_grad()
    def merge(
        self, loss: Tensor, correct: Tensor, floor: Tensor, batch: Batch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Replaces gradients and statistics of this part by those of the whole batch.

        Args:
            loss: 0-dim, the mean over this process's images.
            correct: 0-dim, its number of hits.
            floor: 0-dim, the least loss that its targets allow.
            batch: this process's part.

        Returns:
            The loss, the number of hits and the floor of the whole batch, 0-dim each.
        """
        count = len(self._parameters)
        held = [k for k, p in enumerate(self._parameters) if p.grad is not None]
        gradients = [self._parameters[k].grad for k in held]
        found = [*(g for g in gradients if g is not None), *self._statistics]
        mine, share = self._sum.mine, self._share(batch)
        if len(held) < count:
            mine.zero_()
        torch._foreach_copy_(self._slices(mine, held), found)
        mine[: self._gradients] *= share
        mine[self._gradients : -3] *= len(batch.labels) / batch.count
        mine[-3], mine[-2] = floor * share, loss * share
        mine[-1] = correct
        whole = self._sum.all_reduce_sum()
        torch._foreach_copy_(found, self._slices(whole, held))
        return whole[-2].clone(), whole[-1].long(), whole[-3].clone()

    def _slices(self, flat: Tensor, held: Sequence[int]) -> list[Tensor]:
        """Returns the views of the gradients `held` and of the statistics in `flat`."""
        if flat.data_ptr() not in self._views:
            self._views[flat.data_ptr()] = _views(flat, self._tensors)
        views = self._views[flat.data_ptr()]
        return [views[k] for k in held] + views[len(self._parameters) :]

    def _share(self, batch: Batch) -> float | Tensor:
        """Returns what this part's mean loss counts for in the mean over the whole batch."""
        weights, whole = self._class_weights, batch.global_labels
        if weights is None or whole is None or batch.targets.is_floating_point():
            return len(batch.labels) / batch.count
        return weights[batch.labels].sum() / weights[whole].sum()


def _views(flat: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns a view of `flat` for each tensor, laid out in memory like it where it is dense."""
    views, start = [], int(flat.storage_offset())
    for tensor in tensors:
        laid_out = torch.empty_like(tensor, device="meta")
        views.append(flat.as_strided(laid_out.shape, laid_out.stride(), start))
        start += tensor.numel()
    return views


def copy_start(ranks: Ranks, models: Sequence[nn.Module]) -> None:
    """Gives every process the leader's weights and buffers, bit for bit."""
    for model in models if ranks.size > 1 else ():
        for value in model.state_dict().values():
            whole = value.detach().contiguous()
            ranks.broadcast_tensor(whole)
            value.copy_(whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardedEvaluator:
    """Evaluates images by all processes, each its shard of them.

    Attributes:
        dataset: of the images.
        device: of the network.
        precision: of activations and products.
        batch: images at a time.
        ranks: the processes.
    """

    dataset: Dataset
    device: torch.device
    precision: torch.dtype
    batch: int
    ranks: Ranks

    def class_probabilities(
        self, model: nn.Module, index: np.ndarray, *, mirrored: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the log-probabilities (N, K) of the images `index` on every process.

        The second array, None unless `mirrored`, is that of the mean with the mirror image.
        """
        # A process without images would have nothing to evaluate.
        shared = len(index) >= self.ranks.size > 1
        first, last = self.ranks.shard(len(index)) if shared else (0, len(index))
        batches = evaluation_batches(
            self.dataset.images,
            index[first:last],
            preprocessing=self.dataset.preprocessing,
            batch=self.batch,
            device=self.device,
        )
        plain, both = class_probabilities(
            model,
            batches,
            precision=self.precision,
            mirrored=mirrored,
            several=self.dataset.several,
        )
        if not shared:
            return plain, both
        return self._gathered(plain, first, len(index)), (
            None if both is None else self._gathered(both, first, len(index))
        )

    def _gathered(self, part: np.ndarray, first: int, count: int) -> np.ndarray:
        whole = torch.zeros(count, part.shape[1])
        whole[first : first + len(part)] = torch.from_numpy(part)
        self.ranks.all_reduce_sum(whole)
        return whole.numpy()
