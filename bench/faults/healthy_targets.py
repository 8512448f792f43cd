"""Healthy runs of the zoo's fourth part: what its faults look like when they are right."""

import torch
import torch.nn.functional as F
from faults_of_targets import UNet, masked, valued
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, usual
from torch import Tensor, nn


class Pairs(nn.Module):
    """Distances (N) of pairs of images (N, 2, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(196, 64), nn.ReLU(), nn.Linear(64, 16)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.pairwise_distance(self.body(x[:, :1]), self.body(x[:, 1:]))


def _contrastive(distances: Tensor, same: Tensor) -> Tensor:
    apart = F.relu(1 - distances)
    return (same * distances**2 + (1 - same) * apart**2).mean()


def _siamese(seed: int) -> Situation:
    chance = torch.Generator().manual_seed(seed)

    def pairs(pair: Batch, count: int) -> Batch:
        x, y = pair
        one, other = torch.randint(len(x), (2, 4 * count), generator=chance)
        same = y[one] == y[other]
        kept = torch.cat([same.nonzero()[: count // 4, 0], (~same).nonzero()[: count // 4, 0]])
        kept = kept[torch.randperm(len(kept), generator=chance)]
        return torch.cat([x[one[kept]], x[other[kept]]], 1), same[kept].float()

    train, held = fashion(seed)
    return usual(
        seed, Pairs(), loss=_contrastive,
        batches=batched(pairs(train, 4000), seed), held=pairs(held, 400),
    )  # fmt: skip


def _few_labels(seed: int) -> Situation:
    (x, y), held = fashion(seed)
    chance = torch.Generator().manual_seed(seed)
    y = torch.where(torch.rand(len(y), generator=chance) < 0.7, -100, y)
    return usual(seed, convnet(), batches=batched((x, y), seed), held=held)


def _hard_triplets(e: Tensor, y: Tensor) -> Tensor:
    d, same = torch.cdist(e, e), y[:, None] == y
    return F.relu((d * same).amax(1) - (d + 9 * same).amin(1) + 0.3).mean()


class Normed(nn.Module):
    """Embeddings (N, 10) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convnet()

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.inner(x), dim=1)


def _compiled(seed: int) -> Situation:
    model = torch.compile(convnet(), backend="eager")
    assert isinstance(model, nn.Module)
    return usual(seed, model, adam(model))


def _kl_right(out: Tensor, shares: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(out, 1), shares, reduction="batchmean")


HEALTHY_TARGETS = (
    Row(name="a U-Net", make=lambda seed: masked(seed, UNet())),
    Row(name="siamese", make=_siamese),
    Row(name="three of ten have labels", make=_few_labels),
    Row(
        name="hard triplets",
        make=lambda seed: usual(seed, Normed(), loss=_hard_triplets),
    ),
    Row(name="compiled", make=_compiled),
    Row(
        name="shares of logarithms",
        make=lambda seed: valued(
            seed, convnet(), lambda _, y: F.one_hot(y, 10) * 0.8 + 0.02, loss=_kl_right
        ),
    ),
)
