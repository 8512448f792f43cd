"""Healthy runs of the zoo's third part: other networks, losses, optimizers and loops.

Written after the split, when the detectors stood; all of them belong to the half to work on.
"""

from typing import Any

import torch
import torch.nn.functional as F
from faults_of_others import Patches, Rows
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, mlp, sgd, usual
from torch import Tensor, nn


def _overflowing_scaler(seed: int) -> Situation:
    model = convnet()
    optimizer, scaler = adam(model), torch.amp.GradScaler("cpu", init_scale=2.0**24)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = F.cross_entropy(model(batch[0]).float(), batch[1])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _accumulated(seed: int) -> Situation:
    model = Patches()
    optimizer, seen = torch.optim.AdamW(model.parameters(), lr=4e-3), [0]

    def step(batch: Batch) -> Tensor:
        model.train()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / 4).backward()
        seen[0] += 1
        if seen[0] % 4 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _distilled(seed: int) -> Situation:
    (x, _), (held_x, _) = fashion(seed)
    teacher = convnet()
    first = usual(seed, teacher, adam(teacher))
    for batch in first.batches[:80]:
        first.plain_step(batch)
    teacher.eval()
    with torch.no_grad():
        given, held = teacher(x), teacher(held_x)

    def loss(out: Tensor, logits: Tensor) -> Tensor:
        shares = F.softmax(logits / 4, 1)
        return 16 * F.kl_div(F.log_softmax(out / 4, 1), shares, reduction="batchmean")

    student = mlp()
    return usual(seed, student, loss=loss, batches=batched((x, given), seed), held=(held_x, held))


def _sharpness_aware(seed: int) -> Situation:
    model = convnet()
    optimizer = sgd(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        learning = [p for p in model.parameters() if p.grad is not None]
        size = torch.stack([p.grad.norm() for p in learning]).norm() + 1e-12
        moves = [0.05 * p.grad / size for p in learning]
        with torch.no_grad():
            for p, move in zip(learning, moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for p, move in zip(learning, moves, strict=True):
                p.sub_(move)
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _lookahead(seed: int) -> Situation:
    model = mlp()
    optimizer, seen = adam(model), [0]
    slow = [p.detach().clone() for p in model.parameters()]
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        seen[0] += 1
        if seen[0] % 5 == 0:
            with torch.no_grad():
                for p, s in zip(model.parameters(), slow, strict=True):
                    s.lerp_(p, 0.5)
                    p.copy_(s)
        return loss

    return usual(seed, model, optimizer, step=step)


def _max_norm(seed: int) -> Situation:
    model = mlp(dropout=0.2)
    optimizer = sgd(model, 0.03)
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        with torch.no_grad():
            for m in model:
                if isinstance(m, nn.Linear):
                    m.weight.copy_(m.weight.renorm(2, 0, 1.0))
        return loss

    return usual(seed, model, optimizer, step=step)


class Pixels(nn.Module):
    """Scores of each pixel, (N, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(),
            nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.SiLU(), nn.Conv2d(16, 3, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _ignored_border(seed: int) -> Situation:
    def masks(x: Tensor) -> Tensor:
        found = torch.bucketize(x.squeeze(1), torch.tensor([-0.7, 0.9]))
        found[:, 0], found[:, :, 0] = 255, 255
        return found

    (x, _), (held_x, _) = fashion(seed)
    model = Pixels()
    return usual(
        seed, model, torch.optim.AdamW(model.parameters(), lr=3e-3),
        loss=lambda out, y: F.cross_entropy(out, y, ignore_index=255),
        batches=batched((x, masks(x)), seed, size=16, steps=90), held=(held_x, masks(held_x)),
        gives_accuracy=False,
    )  # fmt: skip


def _rare_labels(seed: int) -> Situation:
    (x, y), (held_x, held_y) = fashion(seed)

    def several(images: Tensor, labels: Tensor) -> Tensor:
        bright = images.mean((1, 2, 3), keepdim=False)[:, None] > torch.linspace(0, 1, 6)
        return torch.cat([F.one_hot(labels, 10).bool(), bright], 1).float()

    model = nn.Sequential(convnet(), nn.ReLU(), nn.Linear(10, 16))
    return usual(
        seed, model, loss=F.binary_cross_entropy_with_logits,
        batches=batched((x, several(x, y)), seed), held=(held_x, several(held_x, held_y)),
    )  # fmt: skip


def _contrastive(seed: int) -> Situation:
    """Two views of each image; the logits of a pair are those of the whole batch."""
    (x, _), (held_x, _) = fashion(seed)
    chance = torch.Generator().manual_seed(seed)

    def views(images: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.3 * torch.randn(images.shape, generator=chance)
        return images + noise, images.flip(-1)

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(outputs=32)

        def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
            return F.normalize(self.body(one), dim=1), F.normalize(self.body(other), dim=1)

    def loss(out: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
        scores = out[0] @ out[1].mT / 0.2
        return F.cross_entropy(scores, torch.arange(len(scores)))

    model = Pair()
    optimizer = adam(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        found = loss(model(*batch[0]), batch[1])
        found.backward()
        optimizer.step()
        return found.detach()

    @torch.no_grad()
    def validate() -> tuple[float, float | None]:
        model.eval()
        held = [loss(model(*views(part)), part) for part in held_x.split(64)[:7]]
        return float(torch.stack(held).mean()), None

    found = [(views(part), torch.zeros(len(part))) for part, _ in batched((x, x), seed)]
    return usual(
        seed, model, optimizer, loss=loss, batches=found, step=step, validate=validate,
    )  # fmt: skip


class Variational(nn.Module):
    """An autoencoder that draws its code in training, and takes its mean in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = mlp(outputs=32), mlp(outputs=196, inputs=16)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        mean, log_var = self.encode(x).chunk(2, 1)
        code = mean
        if self.training:
            code = mean + torch.randn_like(mean) * (log_var / 2).exp()
        return {"image": self.decode(code), "mean": mean, "log_var": log_var}


def _variational(seed: int) -> Situation:
    def loss(out: dict[str, Tensor], x: Tensor) -> Tensor:
        divergence = out["mean"].square() + out["log_var"].exp() - 1 - out["log_var"]
        return F.mse_loss(out["image"], x.flatten(1)) + 0.5 * divergence.sum(1).mean() / 196

    (x, _), (held_x, _) = fashion(seed)
    model = Variational()
    one = usual(seed, model, loss=loss, batches=batched((x, x), seed), held=(held_x, held_x))
    one.validate = lambda: (float(loss(_resting(model, held_x), held_x)), None)
    return one


@torch.no_grad()
def _resting(model: nn.Module, x: Tensor) -> Any:
    model.eval()
    return model(x)


class Tokens(nn.Module):
    """Grey values as tokens of an embedding with sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(196 * 8, 64, sparse=True, mode="sum")
        self.head = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))


def _sparse(seed: int) -> Situation:
    def tokens(x: Tensor) -> Tensor:
        levels = torch.bucketize(x.flatten(1), torch.linspace(-0.8, 2, 7))
        return levels + 8 * torch.arange(196)

    (x, y), (held_x, held_y) = fashion(seed)
    model = Tokens()
    return usual(
        seed, model, torch.optim.SGD(model.parameters(), lr=0.2),
        batches=batched((tokens(x), y), seed), held=(tokens(held_x), held_y),
    )  # fmt: skip


def _spectral(seed: int) -> Situation:
    model = convnet(norm=False)
    for m in list(model.modules()):
        if isinstance(m, nn.Conv2d):
            nn.utils.parametrizations.spectral_norm(m)
    nn.utils.parametrizations.weight_norm(model[-1])
    return usual(seed, model, adam(model, 3e-3))


def _one_cycle(seed: int) -> Situation:
    model = convnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, total_steps=400, div_factor=1e4, final_div_factor=1e6
    )
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        schedule.step()
        return loss

    return usual(seed, model, optimizer, step=step)


def _whole_set(seed: int) -> Situation:
    (x, y), held = fashion(seed)
    model = mlp(width=32)
    return usual(
        seed, model, torch.optim.Rprop(model.parameters(), lr=1e-3), batches=[(x, y)] * 24,
        held=held,
    )  # fmt: skip


def _lbfgs(seed: int) -> Situation:
    (x, y), held = fashion(seed)
    model = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Softplus(), nn.Flatten(), nn.Linear(600, 10))
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=1, max_iter=3, history_size=5, line_search_fn="strong_wolfe"
    )

    def step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = (
                F.cross_entropy(model(batch[0]), batch[1]) + 1e-4 * model[3].weight.square().sum()
            )
            loss.backward()
            return loss

        return optimizer.step(closure).detach()

    return usual(
        seed, model, optimizer, step=step, batches=batched((x, y), seed, size=1000, steps=20),
        held=held,
    )  # fmt: skip


def _mixed(seed: int) -> Situation:
    """Mixup as most write it: two labels and a share."""
    (x, y), held = fashion(seed)
    chance = torch.Generator().manual_seed(seed)
    model = convnet(width=12)
    optimizer = adam(model)
    found = []
    for part, labels in batched((x, y), seed):
        order = torch.randperm(len(part), generator=chance)
        share = float(torch.rand((), generator=chance))
        found.append((share * part + (1 - share) * part[order], (labels, labels[order], share)))

    def loss(out: Tensor, targets: Any) -> Tensor:
        if isinstance(targets, Tensor):
            return F.cross_entropy(out, targets)
        one, other, share = targets
        return share * F.cross_entropy(out, one) + (1 - share) * F.cross_entropy(out, other)

    return usual(seed, model, optimizer, loss=loss, batches=found, held=held)


def _two_optimizers(seed: int) -> Situation:
    model = Patches()
    matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    first, second = torch.optim.Muon(matrices, lr=5e-3), torch.optim.AdamW(others, lr=3e-3)

    def step(batch: Batch) -> Tensor:
        model.train()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        for one in (first, second):
            one.zero_grad()
        loss.backward()
        for one in (first, second):
            one.step()
        return loss.detach()

    return usual(seed, model, first, step=step)


class OnFrozen(nn.Module):
    """A head on a frozen body that train() leaves in evaluation mode."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body, self.head = body[:-1].requires_grad_(False).eval(), nn.Linear(64, 10)

    def train(self, mode: bool = True) -> "OnFrozen":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.body(x)
        return self.head(features)


def _on_frozen(seed: int) -> Situation:
    donor = convnet()
    first = usual(seed, donor, adam(donor))
    for batch in first.batches[:50]:
        first.plain_step(batch)
    model = OnFrozen(donor)
    return usual(seed, model, torch.optim.SGD(model.head.parameters(), lr=0.05, momentum=0.9))


def _warm_deep(seed: int) -> Situation:
    """Twelve blocks whose branches begin as 0, a warm-up from 0, gradients clipped."""

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
            nn.init.zeros_(self.b.weight)
            nn.init.zeros_(self.b.bias)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.b(F.gelu(self.a(F.layer_norm(x, (64,)))))

    model = nn.Sequential(nn.Flatten(), nn.Linear(196, 64), *[Branch() for _ in range(12)],
                          nn.LayerNorm(64), nn.Linear(64, 10))  # fmt: skip
    nn.init.zeros_(model[-1].weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, k / 30))

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad(set_to_none=False)
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _quantiles(seed: int) -> Situation:
    (x, _), (held_x, _) = fashion(seed)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        above = y[:, None] - out
        return torch.maximum(levels * above, (levels - 1) * above).mean()

    y, held_y = (t[:, :, 6:].std((1, 2, 3)) for t in (x, held_x))
    model = mlp(outputs=3, act=nn.SiLU)
    return usual(seed, model, loss=loss, batches=batched((x, y), seed), held=(held_x, held_y))


HEALTHY_OTHERS: list[Row] = [
    Row(name="float16 with a scaler that overflows at first", make=_overflowing_scaler),
    Row(name="four batches a step, a transformer", make=_accumulated),
    Row(name="log_softmax before cross-entropy", make=lambda seed: usual(
        seed, nn.Sequential(Rows(), nn.LogSoftmax(1)))),
    Row(name="distillation", make=_distilled),
    Row(name="sharpness-aware steps by hand", make=_sharpness_aware),
    Row(name="lookahead by hand", make=_lookahead),
    Row(name="norms of the rows kept below 1", make=_max_norm),
    Row(name="segmentation with an ignored border", make=_ignored_border),
    Row(name="several labels, most of them rare", make=_rare_labels),
    Row(name="contrastive pairs", make=_contrastive),
    Row(name="a variational autoencoder", make=_variational),
    Row(name="an embedding with sparse gradients", make=_sparse),
    Row(name="spectral and weight norm", make=_spectral),
    Row(name="one cycle that ends at 0", make=_one_cycle),
    Row(name="Rprop on the whole set", make=_whole_set),
    Row(name="L-BFGS with a line search", make=_lbfgs),
    Row(name="mixup with two labels and a share", make=_mixed),
    Row(name="Muon beside AdamW", make=_two_optimizers),
    Row(name="train() that leaves the body in evaluation mode", make=_on_frozen),
    Row(name="twelve zero branches, warm-up from 0", make=_warm_deep),
    Row(name="quantiles", make=_quantiles),
]  # fmt: skip
