"""Batches on the device.

A training batch is a pure function of (seed, step): the order of an epoch, the augmentation
and the mixing each have a stream of their own, so that a run resumed at any step sees the
same batches.

Shape letters: N images, B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ravine.core.errors import SettingError
from ravine.core.ranks import ALONE, Ranks
from ravine.core.seeds import generator_for, seed_for
from ravine.data.augment import (
    AugmentSettings,
    Chance,
    Moves,
    PartOfChance,
    make_augmenter,
    moved,
)
from ravine.data.dataset import Dataset, ImageArray, Preprocessing
from ravine.data.mixing import mix
from ravine.data.streaming import LookAhead
from ravine.kernels.library import load_library
from ravine.kernels.pixels import PixelsJob, pixels_to_values

_SHARE_OF_FREE = 0.5  # of a GPU's free memory that the images may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images and what they are.

    Attributes:
        images: (B, C, H, W) float32, normalised, channels_last, on the device.
        targets: (B,) int64 labels, or (B, K) float32 shares.
        labels: (B,) int64, the labels that the images had before mixing.
        everyones: labels of the whole batch, where this is one process's part; else None.
    """

    images: Tensor
    targets: Tensor
    labels: Tensor
    everyones: Tensor | None = None

    @property
    def count(self) -> int:
        """The images of the batch, over all processes."""
        return len(self.labels if self.everyones is None else self.everyones)


class TrainingBatches:
    """The training images of a data set, batch by batch.

    Args:
        dataset: what to train on.
        settings: augmentation and mixing.
        batch: images per step; fewer if there are fewer.
        seed: of the run.
        device: where batches are made.
        balance: with `sample`, every class is drawn equally often, with repetition.
        ranks: the processes that share each batch.

    Raises:
        SettingError: a batch is too small to be shared.
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
        self._images = _placed(dataset.images, device)
        self._classes = len(dataset.classes)
        self._augmenter = make_augmenter(
            settings, classes=dataset.classes, image_size=dataset.preprocessing.image_size
        )
        self._mixing = (settings.mixup, settings.cutmix)
        self._normalise = _Normaliser(dataset.preprocessing, device)
        self._seed = seed
        self._device = device
        self._batch = min(batch, len(self._index))
        self._places = _places(self._batch, ranks)
        self._ahead = LookAhead(dataset.images)
        self._balanced = balance == "sample"
        self._train_labels = torch.from_numpy(dataset.labels[dataset.splits["train"]])
        self._orders: dict[int, Tensor] = {}
        self.steps_per_epoch = len(self._index) // self._batch

    def batch_at(self, step: int) -> Batch:
        """Returns the batch of `step`, counted from 0; of several processes, this one's part."""
        return self._made(step, self._places)

    def whole_batch_at(self, step: int) -> Batch:
        """Returns the batch of `step` with the parts of all processes."""
        return self._made(step, None)

    def _made(self, step: int, places: Tensor | None) -> Batch:
        chosen = torch.from_numpy(self._chosen(step, None))
        source = generator_for("augmentation", seed=self._seed, index=step)
        chance: Chance = source
        everyones = None
        if places is not None:
            everyones = self._labels[chosen.to(self._device)]
            chosen = chosen[places]
            chance = PartOfChance(source, whole=self._batch, places=places)
        bytes_ = self._bytes_of(step, chosen, ahead=places is self._places)
        bytes_ = bytes_.permute(0, 3, 1, 2).to(self._device, non_blocking=True)
        labels = self._labels[chosen.to(self._device)]
        moves = self._augmenter.moves_of(bytes_, chance)
        if "jitter" in self._augmenter.operations:
            values = bytes_ if moves is None else moved(bytes_, moves)
            values = self._augmenter.on_values(values.float() / 255, chance) * 255
            images = self._normalise(values)
        else:
            images = self._normalise.of_bytes(bytes_, moves)
        images = self._augmenter.on_normalised(images, chance)
        targets = labels
        if any(self._mixing):
            images, targets = mix(
                images,
                labels,
                self._classes,
                mixup_alpha=self._mixing[0],
                cutmix_alpha=self._mixing[1],
                seed=seed_for("mixing", seed=self._seed, index=step),
            )
        images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images=images, targets=targets, labels=labels, everyones=everyones)

    def _bytes_of(self, step: int, chosen: Tensor, *, ahead: bool) -> Tensor:
        if isinstance(self._images, Tensor):
            return self._images[chosen.to(self._images.device)]
        if ahead:
            found = self._ahead.images_at(step, lambda k: self._chosen(k, self._places))
        else:
            found = self._images[chosen.numpy()]
        decoded = torch.from_numpy(found)
        return decoded.pin_memory() if self._device.type == "cuda" else decoded

    def _chosen(self, step: int, places: Tensor | None) -> np.ndarray:
        """Returns which images a step takes, (B,), or those of some places of its batch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self._batch
        chosen = self._order_of(epoch)[start : start + self._batch]
        return (chosen if places is None else chosen[places]).numpy()

    def _order_of(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            chance = generator_for("order", seed=self._seed, index=epoch)
            count = len(self._index)
            if self._balanced:
                weights = class_weights(self._train_labels.numpy(), self._classes)
                drawn = torch.multinomial(
                    weights[self._train_labels], count, replacement=True, generator=chance
                )
            else:
                drawn = torch.randperm(count, generator=chance)
            # What comes next is asked for ahead: at an epoch's end two orders are in use.
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
    """Gives images in order, without augmentation; the last batch may be smaller.

    Args:
        images: (N, H, W, C) uint8.
        index: which of them.
        preprocessing: of the network.
        batch: images at a time.
        device: of the network.
        labels: (N,), or None for zeros.
    """
    normalise = _Normaliser(preprocessing, device)
    ahead = LookAhead(images)

    def index_at(step: int) -> np.ndarray:
        return index[step * batch : (step + 1) * batch]

    for step in range(-(-len(index) // batch)):
        chosen = index_at(step)
        pixels = torch.from_numpy(np.ascontiguousarray(ahead.images_at(step, index_at))).to(device)
        found = np.zeros(len(chosen), np.int64) if labels is None else labels[chosen]
        answers = torch.from_numpy(found).to(device)
        values = normalise.of_bytes(pixels.permute(0, 3, 1, 2), None)
        yield Batch(images=values, targets=answers, labels=answers)


def _places(batch: int, ranks: Ranks) -> Tensor | None:
    """Returns this process's places of a batch; None for all of them.

    With a place it has the one opposite, counted from the end, whose image mixing takes.
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

    >>> class_weights(np.array([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    counts = np.bincount(labels, minlength=classes)
    weights = np.where(counts > 0, len(labels) / (classes * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))


class _Normaliser:
    """Bytes 0..255 to (x/255 − mean)/std, (B, C, H, W) float32."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        mean = torch.tensor(preprocessing.mean, dtype=torch.float32, device=device)
        std = torch.tensor(preprocessing.std, dtype=torch.float32, device=device)
        self._scale = (1 / (255 * std))[:, None, None]
        self._shift = (-mean / std)[:, None, None]
        every_byte = torch.arange(256, dtype=torch.uint8, device=device).expand(1, 1, 256)
        self._table = self(every_byte).reshape(-1, 256).contiguous()  # (C, 256)

    def __call__(self, values: Tensor) -> Tensor:
        return torch.addcmul(self._shift, values.float(), self._scale)

    def of_bytes(self, images: Tensor, moves: Moves | None) -> Tensor:
        """Returns images (B, C, H, W) uint8, moved and normalised: on the CPU in one pass."""
        library = load_library() if images.device.type == "cpu" else None
        if library is None or len(images) == 0:
            return self(images if moves is None else moved(images, moves))
        images = images.contiguous(memory_format=torch.channels_last)
        values = torch.empty_like(images, dtype=torch.float32)
        rows, columns = (None, None) if moves is None else (t.contiguous() for t in moves)
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


def _placed(images: ImageArray, device: torch.device) -> Tensor | ImageArray:
    """Returns an array of images on a GPU if they fit there, else where they are."""
    if not isinstance(images, np.ndarray):
        return images
    here = torch.from_numpy(images)
    if device.type != "cuda":
        return here
    free, _ = torch.cuda.mem_get_info(device)
    return here.to(device) if here.numel() < _SHARE_OF_FREE * free else here
