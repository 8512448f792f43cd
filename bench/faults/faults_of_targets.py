"""Faults of the zoo's fourth part: labels of every pixel, values, shares, pairs, and schedules.

Written before the detectors of targets that are no class labels; all of them belong to the half
to work on.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, mlp, sgd, usual
from torch import Tensor, nn


class UNet(nn.Module):
    """Two levels with a skip.

    Args:
        outputs: channels of the result.
        end: what follows the last convolution.
    """

    def __init__(self, outputs: int = 2, end: nn.Module | None = None) -> None:
        super().__init__()
        self.fine, self.coarse, self.joined = _block(1, 8), _block(8, 16), _block(24, 8)
        self.last, self.end = nn.Conv2d(8, outputs, 1), end

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        coarse = F.interpolate(self.coarse(F.max_pool2d(fine, 2)), scale_factor=2)
        out = self.last(self.joined(torch.cat([fine, coarse], 1)))
        return out if self.end is None else self.end(out)


def _block(taken: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(taken, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())


def masked(seed: int, model: nn.Module, **given: object) -> Situation:
    """Returns the segmentation of noisy images: what is brighter than their mean."""
    (x, _), (held, _) = fashion(seed)
    chance = torch.Generator().manual_seed(seed)

    def pair(images: Tensor) -> Batch:
        noise = 0.4 * torch.randn(images.shape, generator=chance)
        return images + noise, (images.squeeze(1) > 0).long()

    train = batched(pair(x), seed, size=32)
    return usual(seed, model, batches=train, held=pair(held), **given)


def valued(
    seed: int, model: nn.Module, targets: Callable[[Tensor, Tensor], Tensor], **given: object
) -> Situation:
    """Returns a training on targets that are made of images and labels."""
    (x, y), (held_x, held_y) = fashion(seed)
    train = batched((x, targets(x, y)), seed)
    return usual(seed, model, batches=train, held=(held_x, targets(held_x, held_y)), **given)


def _dice_turned(out: Tensor, mask: Tensor) -> Tensor:
    p, t = out.squeeze(1).sigmoid(), mask.float()
    return ((2 * (p * t).sum((1, 2)) + 1) / ((p + t).sum((1, 2)) + 1)).mean()


def _autoencoder_cut(seed: int) -> Situation:
    model = nn.Sequential(*mlp(96, outputs=196), nn.ReLU())
    return valued(seed, model, lambda x, _: x.flatten(1), loss=F.mse_loss)


def _shares(_: Tensor, y: Tensor) -> Tensor:
    return F.one_hot(y, 10) * 0.8 + 0.02


def _kl(out: Tensor, shares: Tensor) -> Tensor:
    return F.kl_div(out, shares, reduction="batchmean")


def _softmax_before_binary(seed: int) -> Situation:
    model = nn.Sequential(*convnet(), nn.Softmax(1))
    return valued(
        seed, model, lambda _, y: F.one_hot(y, 10).float(), loss=F.binary_cross_entropy_with_logits
    )


def _average_without_buffers(seed: int) -> Situation:
    model = convnet()
    average, one = copy.deepcopy(model), usual(seed, model, sgd(model))

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        with torch.no_grad():
            for mean, p in zip(average.parameters(), model.parameters(), strict=True):
                mean.lerp_(p, 0.1)
        return loss

    one.step = step
    one.validate = lambda: one.measure(average.eval(), one.held)
    return one


def _slow_statistics(seed: int) -> Situation:
    model = convnet()
    for module in model:
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1e-3
    return usual(seed, model)


class Anew(nn.Module):
    """Makes its head in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.first(x)).flatten(1)
        return nn.Linear(features.shape[1], 10)(features)


def _normalised_in_place(seed: int) -> Situation:
    model = convnet(norm=False)
    train = batched(fashion(seed)[0], seed, steps=20) * 7
    one = usual(seed, model, sgd(model, 0.02), batches=train)

    def step(batch: Batch) -> Tensor:
        batch[0].sub_(0.29).div_(0.35)
        return one.plain_step(batch)

    one.step = step
    return one


def _endless_warm_up(seed: int) -> Situation:
    model = convnet()
    optimizer = adam(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: (k + 1) / 50_000)
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        schedule.step()
        return loss

    one.step = step
    return one


def _one_class(seed: int) -> Situation:
    (x, y), held = fashion(seed)
    kept = (y == 3) | (torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < 0.02)
    return usual(seed, convnet(), batches=batched((x[kept], y[kept]), seed), held=held)


def _compiled_at_rest(seed: int) -> Situation:
    model = torch.compile(mlp(norm=True, dropout=0.2), backend="eager")
    assert isinstance(model, nn.Module)
    optimizer = adam(model.eval())

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


FAULTS_OF_TARGETS = (
    Row(
        name="softmax at the end of a U-Net",
        make=lambda seed: masked(seed, UNet(end=nn.Softmax(1))),
        codes=("softmax-twice",),
    ),
    Row(
        name="a Dice loss without 1 minus",
        make=lambda seed: masked(seed, UNet(1), loss=_dice_turned),
        codes=("loss-of-wrong-sign",),
    ),
    Row(
        name="ReLU at the end of an autoencoder",
        make=_autoencoder_cut,
        codes=("activation-on-logits",),
    ),
    Row(
        name="kl_div of logits",
        make=lambda seed: valued(seed, convnet(), _shares, loss=_kl),
        codes=("loss-expects-log-probabilities",),
    ),
    Row(
        name="softmax before a loss of many answers",
        make=_softmax_before_binary,
        codes=("sigmoid-twice", "softmax-twice"),
    ),
    Row(
        name="average without batch statistics",
        make=_average_without_buffers,
        codes=("averaged-weights-lag", "norm-statistics-disagree"),
    ),
    Row(
        name="batch norm with momentum 0.001",
        make=_slow_statistics,
        codes=("norm-statistics-disagree",),
    ),
    Row(
        name="a layer made in forward",
        make=lambda seed: usual(seed, Anew()),
        codes=("parameters-not-registered",),
    ),
    Row(
        name="images normalised in place, each epoch again",
        make=_normalised_in_place,
        codes=("batch-changed",),
    ),
    Row(name="a warm-up of 50,000 steps", make=_endless_warm_up, codes=("rate-too-low",)),
    Row(name="nine in ten of one class", make=_one_class, codes=("imbalance",)),
    Row(
        name="compiled, left in evaluation mode",
        make=_compiled_at_rest,
        codes=("eval-mode",),
    ),
)
