"""Healthy runs of the zoo's fifth part: what alarmed, or would, when it is right."""

import copy

import torch
import torch.nn.functional as F
from faults_of_samples import accumulating, mixed
from situation import Batch, Row, Situation, adam, batched, fashion, mlp, usual
from torch import Tensor, nn


def _mean_teacher(seed: int) -> Situation:
    """A quarter of the examples has a label; the others have −1, which the loss passes over."""
    (x, y), held = fashion(seed)
    known = torch.rand(len(y), generator=torch.Generator().manual_seed(seed)) < 0.25
    model = mlp()
    teacher = copy.deepcopy(model).requires_grad_(False)
    optimizer = adam(model)

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(out, labels, ignore_index=-1)

    def step(batch: Batch) -> Tensor:
        model.train()
        images, labels = batch
        optimizer.zero_grad()
        out = model(images + 0.2 * torch.randn_like(images))
        with torch.no_grad():
            theirs = teacher(images + 0.2 * torch.randn_like(images)).softmax(1)
        value = loss(out, labels) + (out.softmax(1) - theirs).square().sum(1).mean()
        value.backward()
        optimizer.step()
        with torch.no_grad():
            for ours, slow in zip(model.parameters(), teacher.parameters(), strict=True):
                slow.lerp_(ours, 0.05)
        return value.detach()

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        out = teacher(held[0])
        return float(loss(out, held[1])), float((out.argmax(1) == held[1]).double().mean())

    batches = batched((x, torch.where(known, y, -1)), seed)
    return usual(
        seed, model, optimizer, batches=batches, held=held, loss=loss, step=step, validate=validate
    )


class _Embedding(nn.Module):
    """Images as unit vectors (N, 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, outputs=16)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.net(images), dim=1)


def _contrastive(seed: int) -> Situation:
    """Embeddings that are judged by their neighbours among all images of training."""
    train, held = fashion(seed)

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        close = (out @ out.T / 0.1).masked_fill(torch.eye(len(out), dtype=torch.bool), -1e9)
        same = (labels[None] == labels[:, None]).float().fill_diagonal_(0)
        return -((close.log_softmax(1) * same).sum(1) / same.sum(1).clamp(min=1)).mean()

    model = _Embedding()

    @torch.no_grad()
    def validate() -> tuple[float, float]:
        model.eval()
        out = model(held[0])
        near = torch.cdist(out, model(train[0])).topk(5, 1, largest=False).indices
        right = (train[1][near].mode(1).values == held[1]).double().mean()
        return float(loss(out, held[1])), float(right)

    return usual(seed, model, batches=batched(train, seed), held=held, loss=loss, validate=validate)


HEALTHY_SAMPLES = (
    Row(name="a mean teacher", make=_mean_teacher),
    Row(name="embeddings judged by neighbours in training", make=_contrastive),
    Row(name="mixup in the step", make=lambda seed: mixed(seed, exchanged=False)),
    Row(name="eight batches together", make=lambda seed: accumulating(seed, each=False)),
)
