"""Healthy runs of the zoo's seventh part: unusual losses, labels and batches that are right.

Written after the eighth blind set, to look for false alarms of its kinds.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, batched, convnet, fashion, mlp, usual
from torch import Tensor, nn


def classes_by_examples(
    pair: Batch, seed: int, *, classes: int = 4, each: int = 16, steps: int = 140
) -> list[Batch]:
    """Returns batches of P classes with K examples each, drawn anew for every batch."""
    chance, (x, y) = torch.Generator().manual_seed(seed), pair
    places = [(y == k).nonzero()[:, 0] for k in range(10)]
    found: list[Batch] = []
    for _ in range(steps):
        chosen = torch.randperm(10, generator=chance)[:classes].tolist()
        parts = [
            places[k][torch.randint(len(places[k]), (each,), generator=chance)] for k in chosen
        ]
        part = torch.cat(parts)
        found.append((x[part], y[part]))
    return found


class Unit(nn.Module):
    """Embeddings of length 1, or of any."""

    def __init__(self, *, outputs: int = 16, norm: bool = True) -> None:
        super().__init__()
        self.body, self.norm = mlp(outputs=outputs), norm

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.body(x), dim=1) if self.norm else self.body(x)


def hard_triplets(e: Tensor, y: Tensor) -> Tensor:
    d, same = torch.cdist(e, e), y[:, None] == y
    return F.relu((d * same).amax(1) - (d + 9 * same).amin(1) + 0.3).mean()


def all_triplets(e: Tensor, y: Tensor) -> Tensor:
    d, same = (e[:, None] - e).square().sum(2), y[:, None] == y
    apart = d[:, :, None] - d[:, None, :] + 0.5
    kept = same[:, :, None] & ~same[:, None, :]
    active = F.relu(apart) * kept
    return active.sum() / ((active > 0).sum() + 1e-9)


def supervised_contrast(e: Tensor, y: Tensor) -> Tensor:
    close = (e @ e.T / 0.1).masked_fill(torch.eye(len(e), dtype=torch.bool), -1e9)
    same = (y[None] == y[:, None]).float().fill_diagonal_(0)
    return -((close.log_softmax(1) * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def pairs(e: Tensor, y: Tensor) -> Tensor:
    """Hadsell's contrastive loss over all pairs of a batch."""
    d = (e[:, None] - e).square().sum(2).clamp_min(1e-9).sqrt()
    same = (y[:, None] == y).float()
    return (same * d.square() + (1 - same) * F.relu(1 - d).square()).mean()


def prototypes(e: Tensor, y: Tensor) -> Tensor:
    """Half of each class makes its prototype, the other half is asked (Snell et al. 2017)."""
    kinds = y.unique()
    made, asked, answers = [], [], []
    for place, kind in enumerate(kinds.tolist()):
        rows = (y == kind).nonzero()[:, 0]
        half = max(1, len(rows) // 2)
        made.append(e[rows[:half]].mean(0))
        asked.append(e[rows[half:]])
        answers += [place] * (len(rows) - half)
    if not answers:
        return e.sum() * 0
    far = torch.cdist(torch.cat(asked), torch.stack(made)).square()
    return F.cross_entropy(-far, torch.tensor(answers))


def _embedded(
    loss: Callable[[Tensor, Tensor], Tensor], *, by_class: bool = True, **net: bool | int
) -> Callable[[int], Situation]:
    def make(seed: int) -> Situation:
        train, held = fashion(seed)
        batches = classes_by_examples(train, seed) if by_class else batched(train, seed)
        few = (held[0][:96], held[1][:96])
        return usual(seed, Unit(**net), batches=batches, held=few, loss=loss,
                     gives_accuracy=False)  # fmt: skip

    return make


def tailed(pair: Batch, *, least: int = 8) -> Batch:
    """Returns examples whose classes are geometrically rarer, from 400 to a few."""
    x, y = pair
    kept = []
    for k in range(10):
        rows = (y == k).nonzero()[:, 0]
        kept.append(rows[: max(least, int(400 * 0.62**k))])
    return x[torch.cat(kept)], y[torch.cat(kept)]


def _tail(make_loss: Callable[[Tensor], Callable[[Tensor, Tensor], Tensor]]
          ) -> Callable[[int], Situation]:  # fmt: skip
    def make(seed: int) -> Situation:
        train, held = fashion(seed)
        rare = tailed(train)
        counts = rare[1].bincount(minlength=10).float()
        batches = batched(rare, seed, steps=90)
        return usual(seed, mlp(), loss=make_loss(counts), batches=batches, held=held)

    return make


def _adjusted(counts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The logarithm of the prior is added to the logits (Menon et al. 2021)."""
    prior = (counts / counts.sum()).log()
    return lambda out, y: F.cross_entropy(out + prior, y)


def _margins(counts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Label-distribution-aware margins, and weights of rare classes (Cao et al. 2019)."""
    margins = counts.pow(-0.25)
    margins = 0.5 * margins / margins.max()
    weights = (1 - 0.999) / (1 - 0.999**counts)
    weights = weights / weights.mean()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        less = margins[y][:, None] * F.one_hot(y, 10)
        return F.cross_entropy(out - less, y, weight=weights)

    return loss


def _balanced_softmax(counts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda out, y: F.nll_loss((out + counts.log()).log_softmax(1), y)


def _effective(counts: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    weights = (1 - 0.99) / (1 - 0.99**counts)

    def focal(out: Tensor, y: Tensor) -> Tensor:
        log_p = out.log_softmax(1).gather(1, y[:, None])[:, 0]
        w = weights[y] * 10 / weights.sum()
        return (-w * (1 - log_p.exp()) ** 2 * log_p).mean()

    return focal


def _focal(out: Tensor, y: Tensor) -> Tensor:
    log_p = out.log_softmax(1).gather(1, y[:, None])[:, 0]
    return (-((1 - log_p.exp()) ** 2) * log_p).mean()


def _two_classes(one: int, other: int, *, column: bool = True, floats: bool = False,
                 weigh: bool = False) -> Callable[[int], Situation]:  # fmt: skip
    """One output and labels 0 and 1, which the loss turns into numbers."""

    def make(seed: int) -> Situation:
        parts = []
        for x, y in fashion(seed):
            kept = (y == one) | (y == other)
            parts.append((x[kept], (y[kept] == other).long()))
        train, held = parts
        weight = torch.tensor(1.5) if weigh else None
        model = mlp(outputs=1) if column else nn.Sequential(mlp(outputs=1), nn.Flatten(0))

        def loss(out: Tensor, y: Tensor) -> Tensor:
            target = y.float().reshape(out.shape)
            return F.binary_cross_entropy_with_logits(out, target, pos_weight=weight)

        def validate() -> tuple[float, float]:
            model.eval()
            with torch.no_grad():
                out = model(held[0])
            right = (out.flatten() > 0).long() == held[1]
            return float(loss(out, held[1])), float(right.double().mean())

        if floats:
            train, held = ((p[0], p[1].float()) for p in (train, held))
        return usual(seed, model, loss=loss, batches=batched(train, seed), held=held,
                     validate=validate)  # fmt: skip

    return make


def _signs(seed: int) -> Situation:
    """Labels −1 and 1 as whole numbers, and a hinge."""
    (x, y), (held_x, held_y) = fashion(seed)
    signs, held_signs = (2 * (labels < 5).long() - 1 for labels in (y, held_y))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.relu(1 - y * out[:, 0]).mean()

    return usual(seed, mlp(outputs=1), loss=loss, batches=batched((x, signs), seed),
                 held=(held_x, held_signs), gives_accuracy=False)  # fmt: skip


def _grades(x: Tensor) -> Tensor:
    """Returns how bright an image is, in five grades."""
    return torch.bucketize(x.mean((1, 2, 3)), torch.tensor([-0.5, -0.2, 0.1, 0.4]))


def _ordinal(seed: int) -> Situation:
    """Four outputs, 'is it above grade k', for five grades (CORAL; Cao et al. 2020)."""
    (x, _), (held, _) = fashion(seed)

    class Coral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(outputs=1)
            self.steps = nn.Parameter(torch.tensor([1.0, 0.3, -0.3, -1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.steps

    def loss(out: Tensor, y: Tensor) -> Tensor:
        above = (y[:, None] > torch.arange(4)).float()
        return F.binary_cross_entropy_with_logits(out, above)

    return usual(seed, Coral(), loss=loss, batches=batched((x, _grades(x)), seed),
                 held=(held, _grades(held)), gives_accuracy=False)  # fmt: skip


def _counts(seed: int) -> Situation:
    """Whole numbers that are counted: Poisson regression with one output."""
    (x, _), (held, _) = fashion(seed)

    def bright(images: Tensor) -> Tensor:
        return (images.flatten(1) > 0.5).sum(1) // 8

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.poisson_nll_loss(out[:, 0], y.float())

    return usual(seed, mlp(outputs=1), loss=loss, batches=batched((x, bright(x)), seed),
                 held=(held, bright(held)), gives_accuracy=False)  # fmt: skip


def _whole_number_regression(seed: int) -> Situation:
    """An age of 0 to 60 as a whole number, divided in the loss."""
    (x, _), (held, _) = fashion(seed)

    def age(images: Tensor) -> Tensor:
        return ((images[:, :, :7].mean((1, 2, 3)) + 1) * 20).clamp(0, 60).long()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.smooth_l1_loss(out[:, 0], y.float() / 20 - 1)

    return usual(seed, mlp(outputs=1), loss=loss, batches=batched((x, age(x)), seed),
                 held=(held, age(held)), gives_accuracy=False)  # fmt: skip


def _several_margins(seed: int) -> Situation:
    return usual(seed, convnet(), loss=nn.MultiMarginLoss())


def _one_against_rest(seed: int) -> Situation:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out, F.one_hot(y, 10).float()) * 10

    return usual(seed, convnet(), loss=loss)


def _evidence(seed: int) -> Situation:
    """Evidence for each class, a Dirichlet's squared error (Sensoy et al. 2018)."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        alpha = F.softplus(out) + 1
        total = alpha.sum(1, keepdim=True)
        p, target = alpha / total, F.one_hot(y, 10).float()
        return ((target - p).square() + p * (1 - p) / (total + 1)).sum(1).mean()

    return usual(seed, mlp(), loss=loss)


def _centres(seed: int) -> Situation:
    """Cross-entropy and distances to centres that the loss moves."""
    model = mlp()
    centres = nn.Parameter(torch.zeros(10, 10))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 0.005 * (out - centres[y]).square().sum(1).mean()

    optimizer = torch.optim.Adam([*model.parameters(), centres], lr=2e-3)
    return usual(seed, model, optimizer, loss=loss)


def _complement(seed: int) -> Situation:
    """Labels tell which class it is not, and the loss knows that (Ishida et al. 2017)."""
    (x, y), held = fashion(seed)
    chance = torch.Generator().manual_seed(seed)
    wrong, held_wrong = (
        (t + torch.randint(1, 10, t.shape, generator=chance)) % 10 for t in (y, held[1])
    )
    model = mlp()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -(1 - out.softmax(1).gather(1, y[:, None])[:, 0]).clamp_min(1e-6).log().mean()

    def validate() -> tuple[float, float]:
        model.eval()
        with torch.no_grad():
            out = model(held[0])
        return float(loss(out, held_wrong)), float((out.argmax(1) == held[1]).double().mean())

    return usual(seed, model, loss=loss, batches=batched((x, wrong), seed), held=held,
                 validate=validate)  # fmt: skip


HEALTHY_LOSSES = (
    Row(name="hard triplets, four classes in a batch", make=_embedded(hard_triplets)),
    Row(name="all triplets, four classes in a batch", make=_embedded(all_triplets)),
    Row(name="all triplets of lengths that are free", make=_embedded(all_triplets, norm=False)),
    Row(name="all triplets of a few numbers", make=_embedded(all_triplets, outputs=2, norm=False)),
    Row(name="supervised contrast, by class", make=_embedded(supervised_contrast)),
    Row(name="all pairs of a batch, by class", make=_embedded(pairs, outputs=32)),
    Row(name="prototypes", make=_embedded(prototypes, norm=False)),
    Row(name="all triplets, shuffled", make=_embedded(all_triplets, by_class=False)),
    Row(name="a long tail, prior in the logits", make=_tail(_adjusted)),
    Row(name="a long tail, margins and weights", make=_tail(_margins)),
    Row(name="a long tail, balanced softmax", make=_tail(_balanced_softmax)),
    Row(name="a long tail, effective numbers and focus", make=_tail(_effective)),
    Row(name="a focal loss", make=lambda s: usual(s, convnet(), loss=_focal)),
    Row(name="two classes, one column", make=_two_classes(7, 9)),
    Row(name="two classes, one number", make=_two_classes(0, 1, column=False)),
    Row(name="two classes, weighed, labels as floats",
        make=_two_classes(2, 4, floats=True, weigh=True)),
    Row(name="signs and a hinge", make=_signs),
    Row(name="grades", make=_ordinal),
    Row(name="counts", make=_counts),
    Row(name="ages as whole numbers", make=_whole_number_regression),
    Row(name="margins of several classes", make=_several_margins),
    Row(name="each class against the rest", make=_one_against_rest),
    Row(name="evidence of a Dirichlet", make=_evidence),
    Row(name="centres of classes", make=_centres),
    Row(name="labels of what it is not", make=_complement),
)  # fmt: skip
