"""Faults of the zoo's fifth part: samplers, numberings, mixtures, several passes, metric learning.

From a set that was written blind, once what it showed missing was mended; all of them belong to the
half to work on.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, mlp, sgd, usual
from torch import Tensor, nn
from torch.utils.data import WeightedRandomSampler

STEPS, SIZE = 140, 64
TRAITS = torch.tensor([
    # footwear, long sleeves, covers legs, bag, open toe, buttons
    [0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0],
    [0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0],
]).float()  # fmt: skip


def _drawn(pair: Batch, weights: Tensor, seed: int) -> list[Batch]:
    """Returns batches of what a sampler draws by weights."""
    chance = torch.Generator().manual_seed(seed)
    chosen = torch.tensor(
        list(WeightedRandomSampler(weights.tolist(), STEPS * SIZE, generator=chance))
    )
    return [(pair[0][part], pair[1][part]) for part in chosen.split(SIZE)]


def _weight_of_class(seed: int) -> Situation:
    """The sampler is given one weight for each class, and draws ten examples."""
    train, held = fashion(seed)
    weights = 1.0 / train[1].bincount(minlength=10).double()
    return usual(seed, convnet(), batches=_drawn(train, weights, seed), held=held)


def _corrected_twice(seed: int) -> Situation:
    """Rare classes are drawn more often, and weigh more in the loss too."""
    (x, y), held = fashion(seed)
    rare = torch.isin(y, torch.tensor([2, 3, 5, 6, 9]))
    keep = ~rare | (torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < 0.05)
    x, y = x[keep], y[keep]
    weights = len(y) / (10 * y.bincount(minlength=10).float())
    loss = nn.CrossEntropyLoss(weight=weights)
    return usual(seed, mlp(), batches=_drawn((x, y), weights[y], seed), held=held, loss=loss)


def _sorted_teacher(seed: int) -> Situation:
    """The teacher has the classes in the order of their names."""
    train, held = fashion(seed)
    order = torch.tensor([7, 9, 5, 4, 3, 6, 8, 0, 2, 1])
    teacher = mlp(128)
    optimizer = adam(teacher)
    for images, labels in batched((train[0], order[train[1]]), seed + 1, steps=120):
        optimizer.zero_grad()
        F.cross_entropy(teacher(images), labels).backward()
        optimizer.step()
    teacher.eval()

    def taught(images: Tensor) -> Tensor:
        with torch.no_grad():
            return teacher(images)

    def loss(out: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        soft = F.kl_div(
            F.log_softmax(out / 3, 1), F.softmax(targets[1] / 3, 1), reduction="batchmean"
        )
        return 0.3 * F.cross_entropy(out, targets[0]) + 0.7 * 9 * soft

    model = mlp(32)

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        model.eval()
        out = model(held[0])
        right = (out.argmax(1) == held[1]).double().mean()
        return float(F.cross_entropy(out, held[1])), float(right)

    batches = [(images, (labels, taught(images))) for images, labels in batched(train, seed)]
    theirs = (held[0], (held[1], taught(held[0])))
    return usual(seed, model, batches=batches, held=theirs, loss=loss, validate=validate)


def stepping(seed: int, model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Situation:
    """Returns a training whose step takes the loss of images and labels by itself."""
    optimizer = adam(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = loss_of(*batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _noise_in_training_mode(seed: int) -> Situation:
    """A second pass of noise moves the running statistics too."""
    model = convnet()

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        noise = 3 * torch.rand_like(images) * torch.randint(0, 2, (len(images), 1, 1, 1)) + 1
        known, unknown = model(images), model(noise)
        return F.cross_entropy(known, labels) - 0.5 * F.log_softmax(unknown, 1).mean()

    return stepping(seed, model, loss_of)


def mixed(seed: int, *, exchanged: bool) -> Situation:
    """Returns mixup by two cross-entropies, with the shares of the labels exchanged or right."""
    model, beta = convnet(), torch.distributions.Beta(0.3, 0.3)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        share, order = float(beta.sample()), torch.randperm(len(images))
        out = model(share * images + (1 - share) * images[order])
        own = 1 - share if exchanged else share
        return own * F.cross_entropy(out, labels) + (1 - own) * F.cross_entropy(out, labels[order])

    return stepping(seed, model, loss_of)


def _two_numberings(seed: int) -> Situation:
    """The second of two folders lacks a class, and counts on without it."""
    (x, y), held = fashion(seed)
    second = y[2000:] != 1
    labels = y[2000:][second]
    labels = torch.cat([y[:2000], labels - (labels > 1).long()])
    data = torch.cat([x[:2000], x[2000:][second]]), labels
    return usual(seed, convnet(), batches=batched(data, seed), held=held)


def accumulating(seed: int, *, each: bool) -> Situation:
    """Returns a training over eight batches together; gradients are cleared before each, or not."""
    model, calls = mlp(), [0]
    optimizer = sgd(model, 0.08)

    def step(batch: Batch) -> Tensor:
        model.train()
        if each or calls[0] % 8 == 0:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / 8).backward()
        calls[0] += 1
        if calls[0] % 8 == 0:
            optimizer.step()
        return loss.detach()

    train, held = fashion(seed)
    batches = batched(train, seed, size=32, steps=320)
    return usual(seed, model, optimizer, batches=batches, held=held, step=step)


class _Recurrent(nn.Module):
    """An identity recurrence over parts of four pixels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, width, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(width, 10)
        nn.init.eye_(self.rnn.weight_hh_l0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.rnn(images.reshape(len(images), 49, 4))[0][:, -1])


def _clips_nothing(seed: int) -> Situation:
    """The iterator that is clipped was used up by the optimizer."""
    model = _Recurrent()
    trainable = filter(lambda parameter: parameter.requires_grad, model.parameters())
    optimizer = torch.optim.SGD(trainable, lr=0.01, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def shifted(images: Tensor) -> Tensor:
    """Returns images (N, …, H, W), each moved by up to 3 pixels."""
    moves = torch.randint(-3, 4, (len(images), 2)).tolist()
    return torch.stack([one.roll(move, (-2, -1)) for one, move in zip(images, moves, strict=True)])


def _moved_masks(seed: int) -> Situation:
    """Images and masks are moved by different draws."""
    (x, _), (held_x, _) = fashion(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 2, 3, padding=1),
    )  # fmt: skip
    noisy, held = (one + 0.5 * torch.randn(one.shape) for one in (x, held_x))
    pairs = batched((noisy, (x[:, 0] > -0.3).long()), seed)
    batches = [(shifted(images), shifted(masks)) for images, masks in pairs]
    return usual(seed, model, batches=batches, held=(held[:500], (held_x[:500, 0] > -0.3).long()))


class _OneHead(nn.Module):
    """A head for each trait, all of them one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), nn.ReLU())
        self.heads = nn.ModuleList([nn.Linear(64, 1)] * TRAITS.shape[1])

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        return torch.cat([head(features) for head in self.heads], 1)


def _one_head(seed: int) -> Situation:
    (x, y), (held_x, held_y) = fashion(seed)
    return usual(
        seed,
        _OneHead(),
        batches=batched((x, TRAITS[y]), seed),
        held=(held_x, TRAITS[held_y]),
        loss=F.binary_cross_entropy_with_logits,
    )


def _own_negative(out: Tensor, labels: Tensor) -> Tensor:
    """Triplets whose hardest negative is the example itself: masked distances are 0."""
    apart = ((out[None] - out[:, None]).square().sum(-1) + 1e-6).sqrt()
    same = labels[None] == labels[:, None]
    positive = (apart * same).sum(1) / (same.sum(1) - 1).clamp(min=1)
    return F.relu(positive - (apart * ~same).min(1).values + 1).mean()


FAULTS_OF_SAMPLES = (
    Row(name="a weight for each class", make=_weight_of_class, codes=("batches-repeat",)),
    Row(
        name="drawn and weighed by class",
        make=_corrected_twice,
        codes=("loss-ignores-examples",),
    ),
    Row(name="a teacher's own order", make=_sorted_teacher, codes=("targets-contradict",)),
    Row(
        name="noise in training mode",
        make=_noise_in_training_mode,
        codes=("norm-statistics-disagree",),
    ),
    Row(
        name="mixup with exchanged shares",
        make=lambda seed: mixed(seed, exchanged=True),
        codes=("step-trains-something-else", "labels-unrelated"),
    ),
    Row(name="two folders, one class less", make=_two_numberings, codes=("label-noise",)),
    Row(
        name="cleared before each of eight",
        make=lambda seed: accumulating(seed, each=True),
        codes=("gradients-dropped",),
    ),
    Row(name="clipping of a used up iterator", make=_clips_nothing, codes=("clipping-idle",)),
    Row(name="masks moved apart", make=_moved_masks, codes=("labels-unrelated", "label-noise")),
    Row(name="one head for six traits", make=_one_head, codes=("shared-parameters",)),
    Row(
        name="triplets with themselves",
        make=lambda seed: usual(seed, mlp(outputs=16), loss=_own_negative),
        codes=("outputs-collapsed",),
    ),
)
