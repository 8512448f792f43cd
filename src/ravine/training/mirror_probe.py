"""Whether mirrored images of one class look like another: asked of a small network, in seconds.

A network of three convolutions learns the classes from some training images as they are. Then it
sees images that it was not trained on, and their mirror images. Where two classes are each other's
mirror image (arrows, b and d, sides of a body), it takes the mirror images of one for the other and
the other way round, about as often as it tells the two apart; such classes must not be flipped.

Shape letters: N images, S height and width, C channels, K classes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.seeds import generator_for
from ravine.data.dataset import Dataset
from ravine.data.label_sets import as_rows, rarest_label
from ravine.optim.adam import Adam

_IMAGES = 2400  # at most, of all classes
_EACH = 300  # of a class
_SIDE = 48  # pixels that the probe sees at most
_WIDTHS = (12, 24, 32)
_GRID = 4  # parts a side in which something is
_LARGE = 20  # pixels a side from which the first convolution has a stride
_STRIDED = 16  # pixels a side that such a convolution leaves, about
_AT_ONCE = 100  # images that are made smaller at a time
_STEPS, _BATCH, _LR = 60, 64, 3e-3
_SWAPPED = 0.5  # of the images that are told apart, from which two classes are mirror images
_FEWEST = 0.15  # of all images of a class that have to be taken for the other


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MirroredPair:
    """Two classes that are each other's mirror image.

    Attributes:
        first: index of the class whose mirror images are taken for the second the most.
        second: index of the other.
        taken: share of the first's mirror images that are taken for the second, in [0, 1].
        before: share of the first's images as they are that are taken for the second.
        count: images of the first.
    """

    first: int
    second: int
    taken: float
    before: float
    count: int


def find_mirrored_pair(dataset: Dataset, *, seed: int, most: int = _IMAGES) -> MirroredPair | None:
    """Returns the classes that are most clearly each other's mirror image; None without any.

    Two networks answer, each for the half of the images that it was not trained on. No random
    state of torch is used.

    Args:
        dataset: whose training images are asked about.
        seed: of the run.
        most: images that are asked about; more than 2,400 never are.
    """
    with _one_thread():
        return _find(dataset, seed=seed, most=min(most, _IMAGES))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Threads wait longer for each other than such small layers take."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _find(dataset: Dataset, *, seed: int, most: int) -> MirroredPair | None:
    generator = generator_for("mirror probe", seed=seed)
    index = _chosen(dataset, generator, most)
    pixels = _pixels(dataset, index)
    truth = torch.from_numpy(as_rows(dataset.labels[index], len(dataset.classes))).float()
    says = torch.zeros(2, *truth.shape, dtype=torch.bool)
    half = torch.arange(len(index)) % 2 == 0
    for part in (half, ~half):
        if not bool(part.any()) or bool(part.all()):
            return None
        network = _trained(pixels[~part], truth[~part], generator, several=dataset.several)
        held_out = pixels[part]
        for row, images in enumerate((held_out, held_out.flip(3))):
            says[row, part] = _answers(network, images, several=dataset.several)
    return swapped_pair(says[0].numpy(), says[1].numpy(), truth.numpy() > 0)


def swapped_pair(plain: np.ndarray, mirrored: np.ndarray, truth: np.ndarray) -> MirroredPair | None:
    """Returns the pair of classes that mirroring swaps, from answers; None without any.

    For classes A and B, over the images of A that are not of B: t is the share of their mirror
    images that are taken for B less that of the images as they are, and d the share that is
    taken for A less that for B. The pair is swapped where t/d ≥ 1/2 both for (A, B) and (B, A), and
    the images that change to the other class outnumber those that change back beyond chance (a sign
    test, corrected for the number of pairs).

    Args:
        plain: (N, K) bool, answers for the images as they are.
        mirrored: (N, K) bool, for their mirror images.
        truth: (N, K) bool.
    """
    classes = truth.shape[1]
    critical = math.sqrt(2 * math.log(100 * classes**2))
    best: tuple[float, MirroredPair] | None = None
    sides = [[_side(plain, mirrored, truth, a, b) for b in range(classes)] for a in range(classes)]
    for a in range(classes):
        for b in range(a):
            one, other = sides[a][b], sides[b][a]
            if one is None or other is None or not (one.is_swapped and other.is_swapped):
                continue
            gained, lost = one.gained + other.gained, one.lost + other.lost
            z = (gained - lost) / math.sqrt(gained + lost)
            if z > critical and (best is None or z > best[0]):
                first, second, side = (a, b, one) if one.taken >= other.taken else (b, a, other)
                best = (
                    z,
                    MirroredPair(
                        first=first,
                        second=second,
                        taken=side.taken,
                        before=side.before,
                        count=side.count,
                    ),
                )
    return None if best is None else best[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """What mirroring does to the images of one class, against another.

    Attributes:
        count: images of the class that are not of the other.
        before: share of them that are taken for the other as they are.
        taken: share of them whose mirror image is.
        apart: share that is taken for the class less `before`.
        gained: images that are taken for the other when they are mirrored, and only then.
        lost: images that are no more.
    """

    count: int
    before: float
    taken: float
    apart: float
    gained: int
    lost: int

    @property
    def is_swapped(self) -> bool:
        """Whether mirroring turns this class into the other as far as the two are told apart."""
        change = self.taken - self.before
        return change >= _FEWEST and change >= _SWAPPED * self.apart > 0


def _side(
    plain: np.ndarray, mirrored: np.ndarray, truth: np.ndarray, a: int, b: int
) -> _Side | None:
    rows = truth[:, a] & ~truth[:, b]
    count = int(rows.sum())
    if a == b or not count:
        return None
    before, after = plain[rows, b], mirrored[rows, b]
    return _Side(
        count=count,
        before=float(before.mean()),
        taken=float(after.mean()),
        apart=float(plain[rows, a].mean() - before.mean()),
        gained=int((after & ~before).sum()),
        lost=int((before & ~after).sum()),
    )


def _chosen(dataset: Dataset, generator: torch.Generator, most: int) -> np.ndarray:
    """Returns indices of training images, as many of each class as there is room for."""
    train = dataset.splits["train"]
    labels = rarest_label(dataset.labels[train])
    each = max(2, min(_EACH, most // max(1, len(np.unique(labels)))))
    order = torch.randperm(len(train), generator=generator).numpy()
    taken: dict[int, int] = {}
    kept = []
    for position in order.tolist():
        label = int(labels[position])
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= each:
            kept.append(position)
    kept.sort(key=lambda position: int(labels[position]))  # halves are then of all classes
    return train[np.array(kept, np.int64)][:most]


def _pixels(dataset: Dataset, index: np.ndarray) -> Tensor:
    """Returns images (N, C, S, S) float32 of mean 0 and deviation 1, S at most 48."""
    parts = [_seen(dataset.images[index[i : i + _AT_ONCE]]) for i in range(0, len(index), _AT_ONCE)]
    values = torch.cat(parts)
    return (values - values.mean()) / values.std().clamp_min(1e-3)


def _seen(images: np.ndarray) -> Tensor:
    """Returns images (B, S, S, C) of bytes as (B, C, S, S) float32, S at most 48."""
    values = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    return (
        F.interpolate(values, size=(_SIDE, _SIDE), mode="area")
        if len(images[0]) > _SIDE
        else values
    )


@final
class _Probe(nn.Module):
    """Three convolutions; a linear layer reads what there is anywhere, and roughly where.

    Args:
        channels: C of the images.
        side: S of the images.
        classes: K.
        generator: of the initial weights.
    """

    def __init__(self, channels: int, side: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for number, width in enumerate(_WIDTHS):
            stride = max(2, round(side / _STRIDED)) if number == 0 and side >= _LARGE else 1
            kernel = max(3, 2 * stride - 1)
            layers += [nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.MaxPool2d(2, ceil_mode=True)] if stride == 1 else []
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before * (1 + _GRID**2), classes)
        with torch.no_grad():
            for layer in (*self.features, self.head):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    gain = 2.0 if isinstance(layer, nn.Conv2d) else 0.1
                    deviation = math.sqrt(gain / layer.weight[0].numel())
                    layer.weight.normal_(0, deviation, generator=generator)
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K) of images (N, C, S, S)."""
        found = self.features(x)
        anywhere = found.amax((2, 3))
        where = F.adaptive_max_pool2d(found, _GRID).flatten(1)
        return self.head(torch.cat([anywhere, where], 1))


def _trained(
    images: Tensor, truth: Tensor, generator: torch.Generator, *, several: bool
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # constructors draw from torch's own generator
        network = _Probe(images.shape[1], images.shape[2], truth.shape[1], generator)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    # torch's own would load its compiler, which takes longer than all of this.
    optimizer = Adam(network.parameters(), lr=_LR, weight_decay=0.05)
    batch, reach = min(_BATCH, len(images)), images.shape[2] // 8
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _LR * min(1.0, (step + 1) / 10) * (1 - step / _STEPS)
        chosen = torch.randint(len(images), (batch,), generator=generator)
        shifts = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
        logits = network(images[chosen].roll(shifts, (2, 3)))
        if several:
            loss = F.binary_cross_entropy_with_logits(logits, truth[chosen])
        else:
            loss = F.cross_entropy(logits, truth[chosen])
        loss.backward()
        optimizer.step(clear=True)
    return network.eval()


@torch.no_grad()
def _answers(network: nn.Module, images: Tensor, *, several: bool) -> Tensor:
    """Returns which classes N images are taken for, (N, K) bool."""
    logits = torch.cat([network(part) for part in images.split(500)])
    if several:
        return logits > 0
    return F.one_hot(logits.argmax(1), logits.shape[1]).bool()
