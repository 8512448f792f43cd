"""Faults of the zoo's sixth part: cut tasks, losses, rates by layer, parts of a batch, validations.

From a set that was written blind, or near to it, once what it showed missing was mended; all of
them belong to the half to work on.
"""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, batched, convnet, fashion, sgd, usual
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class TwoHeads(nn.Module):
    """The kind of a garment and whether it is a shoe; the kind from detached features, or not."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.body, self.cut = convnet()[:-1], cut
        self.kind, self.shoe = nn.Linear(64, 10), nn.Linear(64, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        kind = self.kind(features.detach() if self.cut else features)
        return kind, self.shoe(features)[:, 0]


def two_heads(seed: int, *, cut: bool) -> Situation:
    """Returns a training of two tasks."""
    train, held = fashion(seed)

    def both(labels: Tensor) -> tuple[Tensor, Tensor]:
        return labels, torch.isin(labels, torch.tensor([5, 7, 9])).float()

    def loss(out: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        shoe = F.binary_cross_entropy_with_logits(out[1], targets[1])
        return F.cross_entropy(out[0], targets[0]) + shoe

    model = TwoHeads(cut=cut)

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        out = model.eval()(held[0])
        right = (out[0].argmax(1) == held[1]).double().mean()
        return float(loss(out, both(held[1]))), float(right)

    batches = [(x, both(y)) for x, y in batched(train, seed)]
    return usual(seed, model, batches=batches, held=(held[0], both(held[1])), loss=loss,
                 validate=validate)  # fmt: skip


def focal(sign: float) -> Loss:
    """Returns a focal loss whose probability is exp(sign · loss)."""

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        each = F.cross_entropy(out, labels, reduction="none")
        return ((1 - torch.exp(sign * each)) ** 2 * each).mean()

    return loss


def adapted(seed: int, *, turned_round: bool) -> Situation:
    """Returns a trained body with a new head, and rates that fall by 0.3 from layer to layer."""
    one = usual(seed, model := convnet())
    for batch in one.batches[:30]:
        one.plain_step(batch)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    layers = [m for m in model if list(m.parameters())]
    ordered = layers if turned_round else list(reversed(layers))
    groups = [
        {"params": m.parameters(), "lr": 0.05 * 0.3**place} for place, m in enumerate(ordered)
    ]
    one.optimizer = torch.optim.SGD(groups, momentum=0.9)
    return one


def in_parts(seed: int, *, each: bool) -> Situation:
    """Returns batches that are sent through in four parts, cleared before each, or once."""
    model = convnet()
    one = usual(seed, model, sgd(model))

    def step(batch: Batch) -> Tensor:
        model.train()
        total, parts = torch.zeros(()), list(zip(batch[0].chunk(4), batch[1].chunk(4), strict=True))
        for number, (images, labels) in enumerate(parts):
            if each or number == 0:
                one.optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels) / len(parts)
            loss.backward()
            total += loss.detach()
        one.optimizer.step()
        return total

    one.step = step
    return one


def _amount(images: Tensor) -> Tensor:
    """Returns how much the upper half has above the lower one, (N, 1)."""
    upper, lower = images[:, :, :7].mean((1, 2, 3)), images[:, :, 7:].mean((1, 2, 3))
    return 2 * (upper - lower)[:, None]


def contrasted(seed: int, *, moves_targets: bool) -> Situation:
    """Returns a regression whose images get another contrast in each step."""
    (x, _), (held_x, _) = fashion(seed)
    model = nn.Sequential(*convnet(norm=False)[:-1], nn.Linear(64, 1))
    one = usual(seed, model, batches=batched((x, _amount(x)), seed), loss=F.mse_loss,
                held=(held_x, _amount(held_x)))  # fmt: skip

    def step(batch: Batch) -> Tensor:
        images = batch[0] * torch.empty(len(batch[0]), 1, 1, 1).uniform_(0.2, 3.0)
        model.train()
        one.optimizer.zero_grad()
        loss = F.mse_loss(model(images), _amount(images) if moves_targets else batch[1])
        loss.backward()
        one.optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _drawn_validation(seed: int) -> Situation:
    """Validation goes through the loader of training: shuffled, mirrored and moved by chance."""
    one = usual(seed, model := convnet())
    images, labels = one.held

    @torch.no_grad()
    def validate() -> tuple[float, float | None]:
        order = torch.randperm(len(images))
        x = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
        moved = torch.stack([m.roll(int(torch.randint(-1, 2, ())), -1) for m in x])
        model.eval()
        return one.measure(model, (moved[order], labels[order]))

    one.validate = validate
    return one


class _Coarse(nn.Linear):
    """Weights of sixteen levels, rounded without a gradient."""

    def forward(self, input: Tensor) -> Tensor:
        step = self.weight.detach().abs().max() / 7
        return F.linear(input, (self.weight / step).round() * step, self.bias)


def _coarse(seed: int) -> Situation:
    hidden = [nn.Flatten(), _Coarse(196, 64), nn.ReLU(), _Coarse(64, 64), nn.ReLU()]
    return usual(seed, nn.Sequential(*hidden, nn.Linear(64, 10)))


class _Pairs(nn.Module):
    """Whether two garments are of one kind; the first one is encoded twice."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(*convnet()[:-1], nn.Linear(64, 32))
        self.head = nn.Linear(64, 2)

    def forward(self, first: Tensor, _second: Tensor) -> Tensor:
        a, b = self.tower(first), self.tower(first)
        return self.head(torch.cat([(a - b).abs(), a * b], 1))


def _pairs(seed: int) -> Situation:
    """Half of the pairs are of one kind."""

    def paired(pair: Batch, count: int) -> Batch:
        (x, y), chance = pair, torch.Generator().manual_seed(seed)
        first, second = torch.randint(len(x), (2, count), generator=chance)
        places = [(y == kind).nonzero().flatten() for kind in range(10)]
        for n in range(0, count, 2):
            mine = places[int(y[first[n]])]
            second[n] = mine[int(torch.randint(len(mine), (), generator=chance))]
        return (x[first], x[second]), (y[first] == y[second]).long()

    train, held = fashion(seed)
    model, test = _Pairs(), paired(held, 400)
    (first, second), same = paired(train, 140 * 64)
    one = usual(seed, model, held=test)
    one.batches = [
        ((a, b), y)
        for a, b, y in zip(first.split(64), second.split(64), same.split(64), strict=True)
    ]

    def step(batch: Batch) -> Tensor:
        model.train()
        one.optimizer.zero_grad()
        loss = F.cross_entropy(model(*batch[0]), batch[1])
        loss.backward()
        one.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        out = model.eval()(*test[0])
        right = (out.argmax(1) == test[1]).double().mean()
        return float(F.cross_entropy(out, test[1])), float(right)

    one.step, one.validate = step, validate
    return one


class _Neighbours(nn.Module):
    """Three layers over a graph of rows of an image; nothing bends between them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(taken, 32) for taken in (14, 32, 32)])
        self.head = nn.Linear(32, 10)

    def forward(self, rows: Tensor, alike: Tensor) -> Tensor:
        for layer in self.layers:
            rows = layer(rows + alike @ rows)
        return self.head(rows.mean(1))


def _neighbours(seed: int) -> Situation:
    """Rows of an image are neighbours where they are alike."""

    def graphs(pair: Batch) -> Batch:
        rows = pair[0][:, 0]
        alike = (torch.cdist(rows, rows) < 3).float()
        return (rows, alike / alike.sum(2, keepdim=True)), pair[1]

    train, held = fashion(seed)
    model, test = _Neighbours(), graphs(held)
    one = usual(seed, model, held=test, batches=[graphs(b) for b in batched(train, seed)])

    def step(batch: Batch) -> Tensor:
        one.optimizer.zero_grad()
        loss = F.cross_entropy(model(*batch[0]), batch[1])
        loss.backward()
        one.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        out = model(*test[0])
        right = (out.argmax(1) == test[1]).double().mean()
        return float(F.cross_entropy(out, test[1])), float(right)

    one.step, one.validate = step, validate
    return one


def _best_turned_round(seed: int) -> Situation:
    """The best weights are loaded again, and an accuracy counts as better where it falls."""
    one = usual(seed, model := convnet())
    best: list[Any] = []
    steps = itertools.count(1)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        if next(steps) % 10 == 0:
            accuracy = one.plain_validation()[1] or 0.0
            if not best or accuracy < best[0]:
                best[:] = [accuracy, copy.deepcopy(model.state_dict())]
            else:
                model.load_state_dict(best[1])
        return loss

    one.step = step
    return one


FAULTS_OF_MEASURES = (
    Row(
        name="a head of detached features",
        make=lambda seed: two_heads(seed, cut=True),
        codes=("no-gradient",),
    ),
    Row(
        name="a focal loss of exp(+loss)",
        make=lambda seed: usual(seed, convnet(), loss=focal(1.0)),
        codes=("loss-grows-exponentially",),
    ),
    Row(
        name="rates by layer turned round",
        make=lambda seed: adapted(seed, turned_round=True),
        codes=("group-rate-differs",),
    ),
    Row(
        name="parts of a batch, cleared each",
        make=lambda seed: in_parts(seed, each=True),
        codes=("gradients-dropped",),
    ),
    Row(
        name="contrast where an amount is asked",
        make=lambda seed: contrasted(seed, moves_targets=False),
        codes=("step-trains-something-else", "labels-unrelated"),
    ),
    Row(
        name="validation drawn like training",
        make=_drawn_validation,
        codes=("validation-prepared-differently",),
    ),
    Row(name="rounded weights", make=_coarse, codes=("zero-gradient", "no-gradient")),
    Row(name="the first of two, twice", make=_pairs, codes=("inputs-ignored",)),
    Row(name="a graph without activations", make=_neighbours, codes=("network-is-linear",)),
    Row(
        name="the best by the wrong comparison",
        make=_best_turned_round,
        codes=("weights-changed-outside",),
    ),
)
