"""Training and evaluation batches on the device.

A training batch is a pure function of (seed, step): the order of an epoch, the augmentation
and the mixing each have a random stream of their own, so that a run resumed at any step sees the
same batches.

Shape letters: N images, B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.ranks import ALONE, Ranks
from ravine.core.seeds import generator_for, seed_for
from ravine.data.augment import make_augmenter
from ravine.data.augment_operations import (
    Generator,
    ShardedGenerator,
    SourcePixels,
    gather_pixels,
)
from ravine.data.augment_settings import AugmentSettings
from ravine.data.dataset import Dataset, ImageArray, Preprocessing
from ravine.data.mixing import as_targets, mix
from ravine.data.streaming import Prefetcher
from ravine.kernels.library import load_library
from ravine.kernels.pixels import PixelsJob, pixels_to_values

_SHARE_OF_FREE = 0.5  # of a GPU's free memory that the images may occupy


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images and their targets.

    Attributes:
        images: (B, C, H, W) float32, normalised, channels_last, on the device.
        targets: (B,) int64 labels, or (B, K) float32: shares, or several labels in 0..1.
        labels: (B,) int64, or (B, K) uint8 of several labels, before mixing.
        global_labels: (G,) or (G, K), labels of the global batch of G images over all ranks, where
            this is one rank's shard; else None.
    """

    images: Tensor
    targets: Tensor
    labels: Tensor
    global_labels: Tensor | None = None

    @property
    def count(self) -> int:
        """Images of the global batch, over all ranks."""
        return len(self.labels if self.global_labels is None else self.global_labels)


class StepBatches(Protocol):
    """Batches by step, as a training reads them."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps that visit each training image once."""
        ...

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of `step`, counted from 0: this rank's shard of it."""
        ...

    def whole_batch_at(self, step: int) -> Batch:
        """Returns the images of the global batch of `step`, with the shards of all ranks."""
        ...


class TrainingBatches:
    """The training images of a data set, batch by batch.

    Args:
        dataset: whose split `train` is used.
        settings: augmentation and mixing.
        batch: images per step; fewer if there are fewer.
        seed: of the run.
        device: of the batches.
        balance: with `sample`, classes are drawn with equal probability, with replacement.
        ranks: each batch is sharded over these.

    Raises:
        SettingError: a batch is too small to be sharded, or `balance` does not fit the labels.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: AugmentSettings,
        *,
        batch: int,
        seed: int,
        device: torch.device,
        balance: str = "none",
        ranks: Ranks = ALONE,
    ) -> None:
        self._index = torch.from_numpy(dataset.splits["train"])
        self._labels = torch.from_numpy(dataset.labels).to(device)
        self._images = _on_device(dataset.images, device)
        self._classes = len(dataset.classes)
        self.several = dataset.several
        self._augmenter = make_augmenter(
            settings,
            classes=dataset.classes,
            image_size=dataset.preprocessing.image_size,
            channels=dataset.preprocessing.channels,
        )
        self._mixing = (settings.mixup, settings.cutmix)
        self._normalise = _Normaliser(dataset.preprocessing, device)
        self._seed = seed
        self._device = device
        self._batch = min(batch, len(self._index))
        self._shard = shard_indices(self._batch, ranks)
        self._prefetcher = Prefetcher(dataset.images)
        self._balanced = balance == "sample"
        if self._balanced and dataset.several:
            raise SettingError(
                "balance sample: an image of several labels is of no one class to draw evenly; "
                "take --balance loss, or none"
            )
        self._train_labels = torch.from_numpy(dataset.labels[dataset.splits["train"]])
        self._orders: dict[int, Tensor] = {}
        self.steps_per_epoch = len(self._index) // self._batch

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of `step`, counted from 0: this rank's shard of it."""
        return self._make(step, self._shard)

    def whole_batch_at(self, step: int) -> Batch:
        """Returns the global batch of `step`, with the shards of all ranks."""
        return self._make(step, None)

    def indices_at(self, step: int) -> np.ndarray:
        """Returns the data set indices of the images of a step's global batch, (B,) int64."""
        return self._indices(step, None)

    def augmented_view(self, index: np.ndarray, *, seed: int) -> Tensor:
        """Returns images (B, C, H, W) float32 of indices (B,), augmented once as `seed` says."""
        pixels = torch.from_numpy(np.ascontiguousarray(self._images_of(index)))
        pixels = pixels.permute(0, 3, 1, 2).to(self._device)
        images = self._augmented(pixels, torch.Generator().manual_seed(seed))
        return images.contiguous(memory_format=torch.channels_last)

    def _images_of(self, index: np.ndarray) -> np.ndarray:
        if isinstance(self._images, Tensor):
            return self._images[torch.from_numpy(index).to(self._images.device)].cpu().numpy()
        return self._images[index]

    def _make(self, step: int, shard: Tensor | None) -> Batch:
        chosen = torch.from_numpy(self._indices(step, None))
        whole = generator_for("augmentation", seed=self._seed, index=step)
        generator: Generator = whole
        global_labels = None
        if shard is not None:
            global_labels = self._labels[chosen.to(self._device)]
            chosen = chosen[shard]
            generator = ShardedGenerator(whole, batch=self._batch, indices=shard)
        pixels = self._pixels(step, chosen, prefetch=shard is self._shard)
        pixels = pixels.permute(0, 3, 1, 2).to(self._device, non_blocking=True)
        labels = self._labels[chosen.to(self._device)]
        images, targets = self._mix(step, self._augmented(pixels, generator), labels)
        images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images=images, targets=targets, labels=labels, global_labels=global_labels)

    def _augmented(self, pixels: Tensor, generator: Generator) -> Tensor:
        """Returns images (B, C, S, S) uint8, augmented and normalised, float32."""
        sources = self._augmenter.draw_source_pixels(pixels, generator)
        if "jitter" in self._augmenter.operations:
            values = pixels if sources is None else gather_pixels(pixels, sources)
            values = self._augmenter.jitter_values(values.float() / 255, generator) * 255
            images = self._normalise(values)
        else:
            images = self._normalise.from_bytes(pixels, sources)
        return self._augmenter.cut_holes(images, generator)

    def _mix(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns images (B, C, S, S) and targets after mixup or cutmix, where one is on."""
        targets = labels if labels.dim() == 1 else as_targets(labels, self._classes)
        if any(self._mixing):
            images, targets = mix(
                images,
                labels,
                self._classes,
                mixup_alpha=self._mixing[0],
                cutmix_alpha=self._mixing[1],
                seed=seed_for("mixing", seed=self._seed, index=step),
            )
        return images, targets

    def _pixels(self, step: int, chosen: Tensor, *, prefetch: bool) -> Tensor:
        """Returns the images of indices (B,) as (B, S, S, C) uint8."""
        if isinstance(self._images, Tensor):
            return self._images[chosen.to(self._images.device)]
        if prefetch:
            found = self._prefetcher.images_at(step, lambda k: self._indices(k, self._shard))
        else:
            found = self._images[chosen.numpy()]
        decoded = torch.from_numpy(found)
        return decoded.pin_memory() if self._device.type == "cuda" else decoded

    def _indices(self, step: int, shard: Tensor | None) -> np.ndarray:
        """Returns the data set indices of a step's images, (B,) int64, or of a shard of them."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        start = step_in_epoch * self._batch
        chosen = self._order_of(epoch)[start : start + self._batch]
        return (chosen if shard is None else chosen[shard]).numpy()

    def _order_of(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            generator = generator_for("order", seed=self._seed, index=epoch)
            count = len(self._index)
            if self._balanced:
                weights = class_weights(self._train_labels.numpy(), self._classes)
                drawn = torch.multinomial(
                    weights[self._train_labels], count, replacement=True, generator=generator
                )
            else:
                drawn = torch.randperm(count, generator=generator)
            # Prefetching crosses the end of an epoch, where two orders are in use.
            self._orders = {k: v for k, v in self._orders.items() if k == epoch - 1}
            self._orders[epoch] = self._index[drawn]
        return self._orders[epoch]


def evaluation_batches(
    images: ImageArray,
    index: np.ndarray,
    *,
    preprocessing: Preprocessing,
    batch: int,
    device: torch.device,
    labels: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Yields batches in order, without augmentation; the last one may be smaller.

    Args:
        images: (N, S, S, C) uint8.
        index: (M,) int64, of the images to take.
        preprocessing: of the network.
        batch: images at a time.
        device: of the network.
        labels: (N,) int64, or (N, K) uint8 of several labels, or None for zeros.
    """
    normalise = _Normaliser(preprocessing, device)
    prefetcher = Prefetcher(images)

    def index_at(step: int) -> np.ndarray:
        return index[step * batch : (step + 1) * batch]

    for step in range(-(-len(index) // batch)):
        chosen = index_at(step)
        pixels = torch.from_numpy(np.ascontiguousarray(prefetcher.images_at(step, index_at))).to(
            device
        )
        found = np.zeros(len(chosen), np.int64) if labels is None else labels[chosen]
        on_device = torch.from_numpy(found).to(device)
        targets = on_device if on_device.dim() == 1 else on_device.float()
        values = normalise.from_bytes(pixels.permute(0, 3, 1, 2), None)
        yield Batch(images=values, targets=targets, labels=on_device)


def shard_indices(batch: int, ranks: Ranks) -> Tensor | None:
    """Returns the indices (B,) int64 of this rank's shard of a global batch; None for all of it.

    A shard holds with each index the mirrored one, counted from the end, since mixing pairs both.

    Raises:
        SettingError: the batch has fewer pairs than there are ranks.
    """
    if ranks.size == 1:
        return None
    pairs = (batch + 1) // 2
    if pairs < ranks.size:
        raise SettingError(
            f"batch {batch} is too small for {ranks.size} processes; "
            f"take at least --batch {2 * ranks.size}, or fewer processes"
        )
    first, last = ranks.shard(pairs)
    near = torch.arange(first, last)
    return torch.cat([near, batch - 1 - near]).unique()


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Returns N/(K·N_k) for each class k, (K,) float32; 0 for a class without images.

    Args:
        labels: (N,) int64 in 0..K-1.
        classes: K.

    >>> class_weights(np.array([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = np.bincount(labels, minlength=classes)
    weights = np.where(counts > 0, len(labels) / (classes * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))


def positive_weights(labels: np.ndarray) -> Tensor:
    """Returns (N − N_k)/N_k for each label k, (K,) float32: how rare it is; 1 where none has it.

    As `pos_weight` of torch's `BCEWithLogitsLoss`: positives and negatives of a label then weigh
    alike.

    Args:
        labels: (N, K) uint8 of 0 and 1.

    >>> positive_weights(np.array([[1, 1], [0, 1], [0, 1], [0, 0]], np.uint8))
    tensor([3.0000, 0.3333])
    """
    counts = labels.sum(0, dtype=np.int64)
    weights = np.where(counts > 0, (len(labels) - counts) / np.maximum(counts, 1), 1.0)
    return torch.from_numpy(weights.astype(np.float32))


class _Normaliser:
    """Normalises values x in 0..255 to (x/255 − mean)/std, (B, C, H, W) float32."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        mean = torch.tensor(preprocessing.mean, dtype=torch.float32, device=device)
        std = torch.tensor(preprocessing.std, dtype=torch.float32, device=device)
        self._scale = (1 / (255 * std))[:, None, None]
        self._shift = (-mean / std)[:, None, None]
        every_byte = torch.arange(256, dtype=torch.uint8, device=device).expand(1, 1, 256)
        self._table = self(every_byte).reshape(-1, 256).contiguous()  # (C, 256)

    def __call__(self, values: Tensor) -> Tensor:
        return torch.addcmul(self._shift, values.float(), self._scale)

    def from_bytes(self, images: Tensor, sources: SourcePixels | None) -> Tensor:
        """Returns images (B, C, H, W) uint8, gathered and normalised: on the CPU in one pass."""
        library = load_library() if images.device.type == "cpu" else None
        if library is None or len(images) == 0:
            return self(images if sources is None else gather_pixels(images, sources))
        images = images.contiguous(memory_format=torch.channels_last)
        values = torch.empty_like(images, dtype=torch.float32)
        rows, columns = (None, None) if sources is None else (t.contiguous() for t in sources)
        count, channels, height, width = images.shape
        job = PixelsJob(
            bytes=images.data_ptr(),
            values=values.data_ptr(),
            table=self._table.data_ptr(),
            rows=None if rows is None else rows.data_ptr(),
            columns=None if columns is None else columns.data_ptr(),
            images=count,
            height=height,
            width=width,
            channels=channels,
        )
        pixels_to_values(library, job)
        return values


def _on_device(images: ImageArray, device: torch.device) -> Tensor | ImageArray:
    """Returns images (N, S, S, C) uint8 on a GPU if they fit there, else on the host."""
    if not isinstance(images, np.ndarray):
        return images
    here = torch.from_numpy(images)
    if device.type != "cuda":
        return here
    free, _ = torch.cuda.mem_get_info(device)
    return here.to(device) if here.numel() < _SHARE_OF_FREE * free else here
