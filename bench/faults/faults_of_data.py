"""Faults of data, networks and losses: prepared inputs, validation, outputs, targets.

Written as those of `faults_of_loops.py`, before a detector was changed for them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from situation import (
    Batch,
    Row,
    Situation,
    adam,
    batched,
    convnet,
    fashion,
    mlp,
    sgd,
    usual,
)
from torch import Tensor, nn

_GITHUB = "https://github.com/"


def _changed_inputs(change: Callable[[Tensor], Tensor]) -> Callable[[int], Situation]:
    def make(seed: int) -> Situation:
        (x, y), held = fashion(seed)
        model = convnet(norm=False)
        return usual(seed, model, sgd(model), batches=batched((change(x), y), seed),
                     held=(change(held[0]), held[1]))  # fmt: skip

    return make


def _as_of_bytes(x: Tensor) -> Tensor:
    """Takes mean and deviation of 0..255 from images of 0..1."""
    return ((x * 0.35 + 0.29) - 73.0) / 90.0


def _other_validation(change: Callable[[Tensor], Tensor]) -> Callable[[int], Situation]:
    def make(seed: int) -> Situation:
        one = usual(seed, mlp())
        one.held = (change(one.held[0]), one.held[1])
        return one

    return make


def _validation_labels(change: Callable[[Tensor], Tensor]) -> Callable[[int], Situation]:
    def make(seed: int) -> Situation:
        one = usual(seed, convnet())
        one.held = (one.held[0], change(one.held[1]))
        return one

    return make


def _permuted(y: Tensor) -> Tensor:
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(5))]


def _shared(seed: int) -> Situation:
    block = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    return usual(seed, nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), *[block] * 4,
                                     nn.Linear(64, 10)))  # fmt: skip


class _AlwaysDrops(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (
            nn.Linear(196, 64),
            nn.Linear(64, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(torch.relu(self.first(x.flatten(1))), 0.4)  # training= is forgotten
        return self.last(F.dropout(torch.relu(self.second(x)), 0.4))


class _SoftmaxOverBatch(nn.Module):
    """Attention over channels whose softmax runs over the wrong axis."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.gate, self.last = mlp(outputs=64), nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.last(x * 8 * self.gate(x).softmax(0))


class _Reshaped(nn.Module):
    """A transpose too few: examples and features change places."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Linear(196, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.body(x.flatten(1)))
        return self.last(x.t().reshape(len(x), -1))


def _final_softmax_over_batch(seed: int) -> Situation:
    model = nn.Sequential(mlp(), nn.LogSoftmax(0))
    return usual(seed, model, loss=F.nll_loss)


def _slow_statistics(seed: int) -> Situation:
    model = convnet()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return usual(seed, model)


def _sigmoid_twice(seed: int) -> Situation:
    """Several answers at once: is it footwear, has it sleeves, is it a bag."""
    table = torch.zeros(10, 3)
    table[[5, 7, 9], 0] = table[[2, 4, 6], 1] = table[8, 2] = 1
    (x, y), (held_x, held_y) = fashion(seed)
    model = nn.Sequential(mlp(outputs=3), nn.Sigmoid())
    return usual(seed, model, loss=F.binary_cross_entropy_with_logits,
                 batches=batched((x, table[y]), seed), held=(held_x, table[held_y]))  # fmt: skip


def _broadcast(seed: int) -> Situation:
    """How bright is the picture: outputs (N, 1), targets (N,)."""
    (x, _), (held, _) = fashion(seed)
    model = mlp(outputs=1)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out - y).square().mean()

    return usual(seed, model, loss=loss, batches=batched((x, x.mean((1, 2, 3))), seed),
                 held=(held, held.mean((1, 2, 3))))  # fmt: skip


def _coloured(seed: int) -> tuple[Batch, Batch]:
    """Returns the images in colours that follow no class, (N, 3, 14, 14)."""
    (x, y), (held, held_y) = fashion(seed)
    tint = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(seed)) + 0.5
    return (x * tint, y), (held * tint, held_y)


def _scrambled(seed: int) -> Situation:
    """HWC images brought to CHW by reshape."""
    (x, y), (held, held_y) = _coloured(seed)

    def scramble(images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).reshape(images.shape)

    return usual(seed, convnet(channels=3), batches=batched((scramble(x), y), seed),
                 held=(scramble(held), held_y))  # fmt: skip


def _dropped_logits(seed: int) -> Situation:
    return usual(seed, nn.Sequential(mlp(), nn.Dropout(0.5)))


def _smoothed_away(seed: int) -> Situation:
    return usual(seed, mlp(), loss=nn.CrossEntropyLoss(label_smoothing=0.97))


def _ignored_class(seed: int) -> Situation:
    return usual(seed, mlp(), loss=nn.CrossEntropyLoss(ignore_index=0))


def _weight_of_zero(seed: int) -> Situation:
    weight = torch.ones(10)
    weight[[3, 7]] = 0.0
    return usual(seed, mlp(), loss=nn.CrossEntropyLoss(weight=weight))


def _one_batch(seed: int) -> Situation:
    """next(iter(loader)) stands inside the loop."""
    one = usual(seed, mlp())
    one.batches = [one.batches[0]] * len(one.batches)
    return one


def _beside_the_object(seed: int) -> Situation:
    """Crops of the four corners, where there is only background."""
    (x, y), (held, held_y) = fashion(seed)

    def crop(images: Tensor) -> Tensor:
        edge = images[:, :, :2, :2] + 0.05 * torch.randn(
            len(images), 1, 2, 2, generator=torch.Generator().manual_seed(seed)
        )
        return F.interpolate(edge, scale_factor=7)

    held_out = crop(held[torch.randperm(len(held), generator=torch.Generator().manual_seed(1))])
    return usual(seed, convnet(), batches=batched((crop(x.roll(1, 0)), y), seed),
                 held=(held_out, held_y))  # fmt: skip


def _large_targets(seed: int) -> Situation:
    """A regression whose targets are prices."""
    (x, _), (held, _) = fashion(seed)
    model = mlp(outputs=1)

    def targets(images: Tensor) -> Tensor:
        return 250_000 + 40_000 * images.mean((2, 3))

    return usual(seed, model, loss=F.mse_loss, batches=batched((x, targets(x)), seed),
                 held=(held, targets(held)))  # fmt: skip


def _weak_augmentation(seed: int) -> Situation:
    """Noise so strong that hardly anything of the picture is left."""
    one = usual(seed, model := convnet())
    chance = torch.Generator().manual_seed(seed)
    one.batches = [(0.1 * x + torch.randn(x.shape, generator=chance), y) for x, y in one.batches]
    one.optimizer = adam(model)
    return one


FAULTS_OF_DATA: list[Row] = [
    Row(name="mean and deviation of 0..255 on images of 0..1",
        make=_changed_inputs(_as_of_bytes), codes=("inputs-not-scaled",), source="truth"),
    Row(name="one pixel value far out", make=_changed_inputs(lambda x: x + 60.0),
        codes=("inputs-not-scaled",)),
    Row(name="validation not normalised", make=_other_validation(lambda x: (0.35 * x + 0.29) * 255),
        codes=("validation-prepared-differently",),
        source=_GITHUB + "keras-team/keras/issues/12689"),
    Row(name="validation in 0..1, training normalised",
        make=_other_validation(lambda x: 0.35 * x + 0.29),
        codes=("validation-prepared-differently",),
        source=_GITHUB + "JeasunLok/ResNet-pytorch/issues/1"),
    Row(name="validation inverted", make=_other_validation(lambda x: -x),
        codes=("validation-prepared-differently",)),
    Row(name="validation labels permuted", make=_validation_labels(_permuted),
        codes=("validation-labels-unrelated",), source="truth"),
    Row(name="validation labels all 0", make=_validation_labels(torch.zeros_like),
        codes=("validation-labels-unrelated",), source="truth"),
    Row(name="validation labels counted in another order",
        make=_validation_labels(lambda y: (y + 3) % 10), codes=("validation-labels-unrelated",)),
    Row(name="layers shared by [layer] * n", make=_shared, codes=("shared-parameters",),
        source=_GITHUB + "acids-ircam/ddsp_pytorch/issues/37"),
    Row(name="dropout that stays on", make=lambda s: usual(s, _AlwaysDrops()),
        codes=("noisy-evaluation",), source=_GITHUB + "pytorch/pytorch/issues/26338"),
    Row(name="softmax over the batch axis", make=lambda s: usual(s, _SoftmaxOverBatch()),
        codes=("examples-mixed",), source="truth"),
    Row(name="log-softmax over the batch axis at the end", make=_final_softmax_over_batch,
        codes=("examples-mixed",), source=_GITHUB + "perone/euclidesdb/issues/2"),
    Row(name="a transpose too few", make=lambda s: usual(s, _Reshaped()),
        codes=("examples-mixed",)),
    Row(name="batch norm with momentum 0", make=_slow_statistics,
        codes=("norm-statistics-disagree",),
        source=_GITHUB + "Cadene/pretrained-models.pytorch/issues/5"),
    Row(name="sigmoid before a loss that holds one", make=_sigmoid_twice, codes=("sigmoid-twice",),
        source=_GITHUB + "YXNTU/GeneralDyG/issues/6"),
    Row(name="outputs (N, 1), targets (N,)", make=_broadcast, codes=("targets-broadcast",),
        source=_GITHUB + "pytorch/pytorch/issues/16045"),
    Row(name="reshape in place of permute", make=_scrambled, codes=("inputs-scrambled",),
        source=_GITHUB + "Selen-Suyue/DensePolicy2D/issues/3"),
    Row(name="dropout on the logits", make=_dropped_logits, codes=("dropout-on-logits",)),
    Row(name="label smoothing 0.97", make=_smoothed_away, codes=("targets-uninformative",)),
    Row(name="a class that ignore_index passes over", make=_ignored_class,
        codes=("loss-ignores-examples",), source=_GITHUB + "nyu-mll/jiant/issues/925"),
    Row(name="two classes of weight 0", make=_weight_of_zero, codes=("loss-ignores-examples",)),
    Row(name="the same batch in each step", make=_one_batch, codes=("batches-repeat",)),
    Row(name="crops beside the object", make=_beside_the_object, codes=("labels-unrelated",),
        source="truth"),
    Row(name="targets of a quarter of a million", make=_large_targets,
        codes=("targets-not-scaled",)),
    Row(name="noise over all images of the training", make=_weak_augmentation,
        codes=("validation-prepared-differently", "augmentation-too-strong")),
]  # fmt: skip
