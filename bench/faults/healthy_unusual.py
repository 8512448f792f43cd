"""Healthy runs that look unusual: a finding above a note is a false alarm here.

Written before a detector was changed for them, from the list of wrong statements (`truth`) and
from what people do on purpose.
"""

import copy
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

import ravine


def _warmup_from_zero(seed: int) -> Situation:
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    one = usual(seed, model, optimizer)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, k / 30))
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        schedule.step()
        return loss

    one.step = step
    return one


def _small_batches(size: int) -> Callable[[int], Situation]:
    def make(seed: int) -> Situation:
        train, held = fashion(seed, count=800)
        batches = batched(train, seed, size=size, steps=180)
        return usual(seed, mlp(), batches=batches, held=held)

    return make


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x))


def _zero_residual(seed: int) -> Situation:
    head = nn.Linear(64, 10)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    body = [nn.Conv2d(1, 16, 3, stride=2), nn.ReLU(), *[_Block(16) for _ in range(3)]]
    return usual(seed, nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), head))


def _segmentation(seed: int) -> Situation:
    """Which pixels belong to the object."""
    (x, _), (held, _) = fashion(seed)

    def mask(images: Tensor) -> Tensor:
        return (images[:, 0] > images.mean()).long()

    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    chance = torch.Generator().manual_seed(seed)
    noisy = x + 0.4 * torch.randn(x.shape, generator=chance)
    return usual(
        seed, model, batches=batched((noisy, mask(x)), seed, size=32), held=(held, mask(held))
    )


def _frozen_body(seed: int, *, gives_step: bool) -> Situation:
    one = usual(seed, model := convnet())
    for batch in one.batches[:80]:
        one.plain_step(batch)
    body, head = model[:-1], model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    for p in body.parameters():
        p.requires_grad_(False)
    model.eval()
    one.optimizer = optimizer = adam(head, lr=5e-3)

    def step(batch: Batch) -> Tensor:
        body.eval()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step, one.gives_step = step, gives_step
    return one


def _smoothing(seed: int) -> Situation:
    return usual(seed, convnet(), loss=nn.CrossEntropyLoss(label_smoothing=0.2),
                 gives_accuracy=False)  # fmt: skip


def _lbfgs(seed: int) -> Situation:
    train, held = fashion(seed, count=512)
    model = nn.Sequential(nn.Flatten(), nn.Linear(196, 10))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.3, max_iter=4)
    one = usual(seed, model, optimizer, batches=[train] * 16, held=held)

    def step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (
                F.cross_entropy(model(batch[0]), batch[1]) + 1e-3 * model[1].weight.square().sum()
            )
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    one.step = step
    return one


def _autoencoder(seed: int) -> Situation:
    (x, _), (held, _) = fashion(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(196, 24), nn.ReLU(), nn.Linear(24, 196),
                          nn.Unflatten(1, (1, 14, 14)))  # fmt: skip
    return usual(seed, model, loss=F.mse_loss, batches=batched((x, x), seed), held=(held, held))


class _CosineHead(nn.Module):
    """Cosines between features and class directions, with a temperature of one tenth."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.directions = mlp(outputs=32), nn.Parameter(torch.randn(10, 32))

    def forward(self, x: Tensor) -> Tensor:
        return 10 * F.normalize(self.body(x)) @ F.normalize(self.directions).t()


class _Tied(nn.Module):
    """A recurrent network over rows, and an output tied to an inner layer, on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.last = nn.GRU(14, 48, batch_first=True), nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.rows(x[:, 0])[0][:, -1])


def _average(seed: int) -> Situation:
    """An average that is corrected for its start, evaluated and put back."""
    one = usual(seed, model := mlp(norm=True))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        average.update_parameters(model)
        return loss

    one.step = step
    one.validate = lambda: one.measure(average.eval(), one.held)
    return one


def _swapped_average(seed: int) -> Situation:
    """The average is copied in for validation, and the weights come back."""
    one = usual(seed, model := mlp())
    average, plain, measure = copy.deepcopy(model), one.plain_step, one.plain_validation

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        with torch.no_grad():
            for mine, its in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(its, 0.1)
        return loss

    def validate() -> tuple[float, float | None]:
        kept = copy.deepcopy(model.state_dict())
        model.load_state_dict(average.state_dict())
        found = measure()
        model.load_state_dict(kept)
        return found

    one.step, one.validate = step, validate
    return one


def _max_norm(seed: int) -> Situation:
    """Weights of each unit are kept at a norm of at most 2 (Srivastava et al. 2014)."""
    model = mlp(dropout=0.2)
    one = usual(seed, model, sgd(model))
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        with torch.no_grad():
            for p in model.parameters():
                if p.dim() == 2:
                    p.copy_(p.renorm(2, 0, 2.0))
        return loss

    one.step = step
    return one


def _accumulates(seed: int) -> Situation:
    one = usual(seed, model := convnet())
    optimizer, count = one.optimizer, [0]

    def step(batch: Batch) -> Tensor:
        model.train()
        loss = F.cross_entropy(model(batch[0]), batch[1]) / 4
        loss.backward()
        count[0] += 1
        if count[0] % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return 4 * loss.detach()

    one.step = step
    return one


def _clips(seed: int) -> Situation:
    one = usual(seed, model := convnet(norm=False))
    one.optimizer = optimizer = sgd(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _mixup(seed: int) -> Situation:
    one = usual(seed, convnet())
    chance = torch.Generator().manual_seed(seed)

    def mixed(batch: Batch) -> Batch:
        x, y = batch
        share = float(torch.rand((), generator=chance))
        target = F.one_hot(y, 10).float()
        return share * x + (1 - share) * x.roll(1, 0), share * target + (1 - share) * target.roll(
            1, 0
        )

    one.batches = [mixed(batch) for batch in one.batches]
    one.held = (one.held[0], one.held[1])
    return one


def _augmented(seed: int) -> Situation:
    """Shifts, flips and erased boxes in training alone."""
    one = usual(seed, convnet())
    chance = torch.Generator().manual_seed(seed)

    def changed(x: Tensor) -> Tensor:
        move = torch.randint(-2, 3, (2,), generator=chance).tolist()
        x = x.roll(move, (2, 3)).clone()
        if float(torch.rand((), generator=chance)) < 0.5:
            x = x.flip(3)
        top, left = torch.randint(0, 8, (2,), generator=chance).tolist()
        x[:, :, top : top + 5, left : left + 5] = 0
        return x

    one.batches = [(changed(x), y) for x, y in one.batches]
    return one


def _bytes_and_norm(seed: int) -> Situation:
    """Pixels as in the files, and a batch norm at the network's start."""
    one = usual(seed, nn.Sequential(nn.BatchNorm2d(1), convnet()))
    one.batches = [((x * 0.35 + 0.29) * 255, y) for x, y in one.batches]
    one.held = ((one.held[0] * 0.35 + 0.29) * 255, one.held[1])
    return one


def _transaction(seed: int) -> Situation:
    model = mlp()
    one = usual(seed, model, ravine.optim.Adam(model.parameters(), lr=2e-3))
    transaction = ravine.optim.Transaction(one.optimizer, model, clip=1.0)

    def step(batch: Batch) -> Tensor:
        model.train()
        transaction.begin()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        transaction.step(loss, clear=True)
        return loss.detach()

    one.step = step
    return one


def _binary(seed: int) -> Situation:
    """One output, footwear or not, balanced by the loss."""
    (x, y), (held, held_y) = fashion(seed)
    table = torch.zeros(10)
    table[[5, 7, 9]] = 1
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0]))
    return usual(seed, mlp(outputs=1), loss=loss, batches=batched((x, table[y][:, None]), seed),
                 held=(held, table[held_y][:, None]))  # fmt: skip


def _arcface(seed: int) -> Situation:
    """Parameters that the loss owns, held by the optimizer."""
    model = mlp(outputs=32)
    proxies = nn.Parameter(torch.randn(10, 32))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(8 * F.normalize(out) @ F.normalize(proxies).t(), y)

    optimizer = torch.optim.Adam([*model.parameters(), proxies], lr=2e-3)
    return usual(seed, model, optimizer, loss=loss, gives_accuracy=False)


def _finetunes_slowly(seed: int) -> Situation:
    """A trained body with a small rate, a fresh head with a large one."""
    one = usual(seed, model := convnet())
    for batch in one.batches[:100]:
        one.plain_step(batch)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    groups = [{"params": model[:-1].parameters(), "lr": 2e-5}, {"params": head.parameters()}]
    one.optimizer = torch.optim.Adam(groups, lr=2e-3)
    return one


def _goes_on(seed: int) -> Situation:
    """A network that is trained already, with a small learning rate."""
    one = usual(seed, model := convnet())
    for batch in one.batches:
        one.plain_step(batch)
    one.optimizer = adam(model, lr=2e-4)
    return one


def _many_wrong_labels(seed: int) -> Situation:
    """Hard data: two classes that look alike, half a pixel of a difference."""
    (x, y), (held, held_y) = fashion(seed, count=8000)
    keep, keep_held = (y == 2) | (y == 4) | (y == 6), (held_y == 2) | (held_y == 4) | (held_y == 6)
    relabel = torch.tensor([0, 0, 0, 0, 1, 0, 2, 0, 0, 0])
    return usual(seed, convnet(), batches=batched((x[keep], relabel[y[keep]]), seed),
                 held=(held[keep_held], relabel[held_y[keep_held]]))  # fmt: skip


HEALTHY_UNUSUAL: list[Row] = [
    Row(name="warm-up from exactly 0", make=_warmup_from_zero, source="truth"),
    Row(name="batches of 8", make=_small_batches(8), source="truth"),
    Row(name="batches of 4", make=_small_batches(4), source="truth"),
    Row(name="residual branches and head that begin as 0", make=_zero_residual, source="truth"),
    Row(name="segmentation", make=_segmentation, source="truth"),
    Row(name="frozen body, head trained", make=lambda s: _frozen_body(s, gives_step=True)),
    Row(name="frozen body, head trained, no step given",
        make=lambda s: _frozen_body(s, gives_step=False), source="truth"),
    Row(name="label smoothing 0.2", make=_smoothing, source="truth"),
    Row(name="LBFGS", make=_lbfgs, source="truth"),
    Row(name="autoencoder", make=_autoencoder),
    Row(name="cosine head", make=lambda s: usual(s, _CosineHead())),
    Row(name="recurrent over rows", make=lambda s: usual(s, _Tied())),
    Row(name="average from swa_utils", make=_average),
    Row(name="average swapped in and out", make=_swapped_average),
    Row(name="max-norm constraint", make=_max_norm),
    Row(name="accumulation over four batches", make=_accumulates),
    Row(name="clipping at 0.5", make=_clips),
    Row(name="mixup", make=_mixup),
    Row(name="strong augmentation", make=_augmented),
    Row(name="pixels 0 to 255 before a batch norm", make=_bytes_and_norm),
    Row(name="a transaction as step", make=_transaction, source="truth"),
    Row(name="binary, weighted", make=_binary),
    Row(name="a loss with weights of its own", make=_arcface),
    Row(name="slow body, fast head", make=_finetunes_slowly),
    Row(name="training that goes on", make=_goes_on),
    Row(name="three classes that look alike", make=_many_wrong_labels),
]  # fmt: skip
