"""Healthy runs of the zoo's seventh part: unusual steps, optimizers and averages that are right.

Written after the eighth blind set, to look for false alarms of its kinds.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, mlp, sgd, usual
from torch import Tensor, nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn


def _likelihood(seed: int, *, given: str) -> Situation:
    """A mean log-likelihood that the step raises."""
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, maximize=given != "minus in step")

    def likelihood(out: Tensor, y: Tensor) -> Tensor:
        return out.log_softmax(1).gather(1, y[:, None]).mean()

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = likelihood(model(batch[0]), batch[1])
        (value if optimizer.defaults["maximize"] else -value).backward()
        optimizer.step()
        return -value.detach()

    loss = likelihood if given == "likelihood" else F.cross_entropy
    one = usual(seed, model, optimizer, loss=loss, step=step)

    def validate() -> tuple[float, float | None]:
        with torch.no_grad():
            model.eval()
            value, right = one.measure(model, one.held)
        return abs(value), right

    one.validate = validate
    return one


def _density(seed: int) -> Situation:
    """A Gaussian's mean and deviation for each image, its likelihood raised by the step."""
    (x, _), (held, _) = fashion(seed)
    y, held_y = (t[:, :, 5:].mean((1, 2, 3)) for t in (x, held))
    model = mlp(outputs=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, maximize=True)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        mean, log = out[:, 0], out[:, 1].clamp(-5, 5)
        return (0.5 * ((y - mean) / log.exp()).square() + log).mean()

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        value = loss(model(batch[0]), batch[1])
        (-value).backward()
        optimizer.step()
        return value.detach()

    return usual(seed, model, optimizer, loss=loss, step=step, batches=batched((x, y), seed),
                 held=(held, held_y))  # fmt: skip


def _probe(seed: int, *, body: nn.Sequential, whole: bool = False) -> Situation:
    """A head on a body that the step puts in evaluation mode after model.train()."""
    head = nn.Linear(64, 10)
    first = usual(seed, nn.Sequential(body, nn.ReLU(), nn.Linear(64, 10)))
    for batch in first.batches[:80]:
        first.plain_step(batch)
    body.requires_grad_(False)
    model = nn.Sequential(body, nn.ReLU(), head)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.02, momentum=0.9)
    held = first.held

    def step(batch: Batch) -> Tensor:
        model.train(not whole)
        body.eval()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    def validate() -> tuple[float, float | None]:
        body.eval()
        with torch.no_grad():
            head.eval()
            return first.measure(model, held)

    return usual(seed, model, optimizer, step=step, validate=validate)


class OnBody(nn.Module):
    """A head on a body that is no part of the network, and that no train() or eval() reaches."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.bodies, self.head = [body], nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.bodies[0](x)
        return self.head(features.relu())


def _beside(seed: int) -> Situation:
    """The step puts the body, which lies in a list, into evaluation mode."""
    body = mlp(outputs=64, dropout=0.3)
    first = usual(seed, nn.Sequential(body, nn.ReLU(), nn.Linear(64, 10)))
    for batch in first.batches[:60]:
        first.plain_step(batch)
    model = OnBody(body.requires_grad_(False).train())
    one = usual(seed, model, adam(model, 3e-3))
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        body.eval()
        return plain(batch)

    one.step = step
    return one


class FrozenFeatures(nn.Module):
    """A head on features of a frozen body, which forward() takes in evaluation mode."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.body.eval()(x)
        return self.head(features.relu())


def _features(seed: int) -> Situation:
    body = mlp(outputs=64, dropout=0.3, norm=True)
    first = usual(seed, nn.Sequential(body, nn.ReLU(), nn.Linear(64, 10)))
    for batch in first.batches[:60]:
        first.plain_step(batch)
    model = FrozenFeatures(body)
    return usual(seed, model, torch.optim.Adam(model.head.parameters(), lr=3e-3))


def _body_apart(seed: int) -> Situation:
    """The frozen body stays outside the network that is watched; dropout acts in the head."""
    body = convnet()[:-1]
    first = usual(seed, nn.Sequential(body, nn.Linear(64, 10)))
    for batch in first.batches[:60]:
        first.plain_step(batch)
    body.eval().requires_grad_(False)
    head = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 10))
    with torch.no_grad():
        found = [(body(x), y) for x, y in first.batches]
        held = (body(first.held[0]), first.held[1])
    return usual(seed, head, adam(head, 3e-3), batches=found, held=held)


def _swa(seed: int) -> Situation:
    """Weights averaged from the middle on, norm statistics computed anew before validation."""
    model = convnet()
    one = usual(seed, model, sgd(model))
    average, rate, calls = AveragedModel(model), SWALR(one.optimizer, 0.03, anneal_epochs=20), [0]

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        calls[0] += 1
        if calls[0] > 60:
            average.update_parameters(model)
            rate.step()
        return loss

    def validate() -> tuple[float, float | None]:
        if calls[0] <= 60:
            return one.plain_validation()
        update_bn([x for x, _ in one.batches[:20]], average)
        with torch.no_grad():
            return one.measure(average.eval(), one.held)

    one.step, one.validate = step, validate
    return one


def _average(seed: int) -> Situation:
    """An exponential average with its buffers, evaluated beside the network."""
    model = convnet()
    one = usual(seed, model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        average.update_parameters(model)
        return loss

    def validate() -> tuple[float, float | None]:
        with torch.no_grad():
            return one.measure(average.eval(), one.held)

    one.step, one.validate = step, validate
    return one


def _lookahead(seed: int) -> Situation:
    """Slow weights that take half of what five fast steps went, with batch norm."""
    model = convnet()
    one, calls = usual(seed, model, sgd(model)), [0]
    slow = [p.detach().clone() for p in model.parameters()]

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        calls[0] += 1
        if calls[0] % 5 == 0:
            for p, s in zip(model.parameters(), slow, strict=True):
                s.lerp_(p.detach(), 0.5)
                p.data.copy_(s)
        return loss

    one.step = step
    return one


def _shares_of_a_batch(seed: int) -> Situation:
    """A batch in uneven parts, each counted by its share; the last one is smaller."""
    model = mlp()
    optimizer = adam(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        whole, total = len(batch[0]), torch.zeros(())
        for x, y in zip(batch[0].split(24), batch[1].split(24), strict=True):
            loss = F.cross_entropy(model(x), y, reduction="sum") / whole
            loss.backward()
            total += loss.detach()
        optimizer.step()
        return total

    return usual(seed, model, optimizer, step=step)


def _mixup(seed: int) -> Situation:
    """Images mixed inside the step by shares near 0 or 1, smoothed labels."""
    model, chance = convnet(), torch.Generator().manual_seed(seed)
    optimizer = adam(model)
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(batch: Batch) -> Tensor:
        model.train()
        x, y = batch
        share = float(torch.rand((), generator=chance)) ** 4
        order = torch.randperm(len(x), generator=chance)
        optimizer.zero_grad()
        out = model((1 - share) * x + share * x[order])
        value = (1 - share) * loss(out, y) + share * loss(out, y[order])
        value.backward()
        optimizer.step()
        return value.detach()

    return usual(seed, model, optimizer, loss=loss, step=step)


class _Straight(torch.autograd.Function):
    """A sign whose gradient is that of a clipped line."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slope * (x.abs() <= 1)


class Signs(nn.Module):
    """Two hidden layers with norms in front of signs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(196, 128), nn.Linear(128, 128), nn.Linear(128, 10)
        self.norms = nn.ModuleList([nn.BatchNorm1d(128), nn.BatchNorm1d(128)])

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip((self.a, self.b), self.norms, strict=True):
            x = _Straight.apply(norm(layer(x.flatten(1))))
        return self.c(x)


class Tied(nn.Module):
    """One matrix in and out: a code of images that gives them back, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(48, 196) / 14)
        self.bias = nn.Parameter(torch.zeros(196))

    def forward(self, x: Tensor) -> Tensor:
        code = F.linear(x.flatten(1), self.weight).relu()
        return F.linear(code, self.weight.t(), self.bias).reshape(x.shape)


def _tied(seed: int) -> Situation:
    (x, _), (held, _) = fashion(seed)
    return usual(seed, Tied(), loss=F.mse_loss, batches=batched((x, x.clone()), seed),
                 held=(held, held))  # fmt: skip


class Lars(torch.optim.Optimizer):
    """Each layer's step has a length in proportion to its weights (You et al. 2017)."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "trust": 0.02, "momentum": 0.9})

    @torch.no_grad()
    def step(self, _: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                size, slope = p.norm(), p.grad.norm()
                trust = group["trust"] * size / slope if size > 0 and slope > 0 else 0.02
                kept = self.state[p].setdefault("kept", torch.zeros_like(p))
                kept.mul_(group["momentum"]).add_(p.grad, alpha=float(trust * group["lr"]))
                p.sub_(kept)


def _lars(seed: int) -> Situation:
    """LARS with a warm-up from 0."""
    model = mlp(norm=True)
    optimizer = Lars(model.parameters(), 1.0)
    rises = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, k / 20))
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        rises.step()
        return loss

    one.step = step
    return one


class RandomDepth(nn.Module):
    """Residual branches that begin as 0 and are left out in training, each image for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(196, 64), nn.Linear(64, 10)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64))
            for _ in range(6)
        )
        for branch in self.branches:
            nn.init.zeros_(branch[3].weight)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for place, branch in enumerate(self.branches):
            p = 0.05 * place
            kept = torch.rand(len(x), 1) >= p if self.training else torch.ones(len(x), 1)
            x = x + branch(x) * kept / (1 - p if self.training else 1)
        return self.last(x)


def _crops(seed: int) -> Situation:
    """The step sends two large and two small crops; the student follows a teacher's answers."""
    train, held = fashion(seed)
    model, teacher = (nn.Sequential(nn.AdaptiveAvgPool2d(7), mlp(inputs=49)) for _ in range(2))
    model.append(nn.Identity())
    teacher.load_state_dict(model.state_dict())
    teacher.requires_grad_(False)
    optimizer, chance = adam(model), torch.Generator().manual_seed(seed)

    def crop(x: Tensor, size: int) -> Tensor:
        top, left = torch.randint(15 - size, (2,), generator=chance).tolist()
        return x[:, :, top : top + size, left : left + size]

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        large = [crop(batch[0], 13) for _ in range(2)]
        loss = torch.stack([F.cross_entropy(model(x), batch[1]) for x in large]).mean()
        aim = teacher(large[0]).softmax(1)
        for x in (crop(batch[0], 10), crop(batch[0], 10)):
            loss = loss + 0.1 * F.cross_entropy(model(x), aim)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, ours in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.lerp_(ours, 0.05)
        return loss.detach()

    return usual(seed, model, optimizer, step=step, batches=batched(train, seed), held=held)


def _curriculum(seed: int) -> Situation:
    """Bright images first; from the middle on all of them."""
    (x, y), held = fashion(seed)
    easy = x.mean((1, 2, 3)).argsort(descending=True)[: len(x) // 2]
    found = batched((x[easy], y[easy]), seed, steps=60) + batched((x, y), seed, steps=80)
    return usual(seed, mlp(), batches=found, held=held)


def _hard_examples(seed: int) -> Situation:
    """Each step trains on the half of its batch that has the larger loss."""
    model = mlp()
    optimizer = adam(model, 1e-3)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        each = F.cross_entropy(model(batch[0]), batch[1], reduction="none")
        loss = each.topk(len(each) // 2).values.mean()
        loss.backward()
        optimizer.step()
        return each.mean().detach()

    return usual(seed, model, optimizer, step=step)


def _distilled(seed: int) -> Situation:
    """A trained teacher's softened answers and the labels."""
    teacher = convnet(width=12)
    first = usual(seed, teacher)
    for batch in first.batches[:100]:
        first.plain_step(batch)
    teacher.eval().requires_grad_(False)
    model = mlp()
    optimizer = adam(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        out, aim = model(batch[0]), (teacher(batch[0]) / 4).softmax(1)
        loss = 16 * F.kl_div((out / 4).log_softmax(1), aim, reduction="batchmean")
        loss = 0.7 * loss + 0.3 * F.cross_entropy(out, batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _bodies_and_heads(seed: int) -> Situation:
    """SGD for the body, Adam for the head, one after the other in a step; weight norm in it."""
    model = convnet()
    last = nn.utils.parametrizations.weight_norm(model[-1])
    body = torch.optim.SGD(model[:-1].parameters(), lr=0.05, momentum=0.9, nesterov=True)
    head = torch.optim.Adam(last.parameters(), lr=2e-3)

    def step(batch: Batch) -> Tensor:
        model.train()
        body.zero_grad()
        head.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        head.step()
        body.step()
        return loss.detach()

    return usual(seed, model, body, step=step)


def _virtual_adversary(seed: int) -> Situation:
    """The answers are to stay where a small step to the worst direction goes (Miyato 2018)."""
    model = mlp()
    optimizer = adam(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        x, y = batch
        moved = (0.01 * F.normalize(torch.randn_like(x).flatten(1))).reshape(x.shape)
        moved.requires_grad_()
        still = model(x).detach().softmax(1)
        apart = F.kl_div(model(x + moved).log_softmax(1), still, reduction="batchmean")
        (slope,) = torch.autograd.grad(apart, moved)
        worst = F.normalize(slope.flatten(1)).reshape(x.shape)
        optimizer.zero_grad()
        apart = F.kl_div(model(x + worst).log_softmax(1), still, reduction="batchmean")
        loss = F.cross_entropy(model(x), y) + apart
        loss.backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _dropped_body(*, norm: bool) -> nn.Sequential:
    return mlp(outputs=64, dropout=0.3, norm=norm)


def _copied(seed: int) -> Situation:
    """Weights that begin as another network's, trained in evaluation mode of its norms."""
    model = convnet()
    first = usual(seed, copy.deepcopy(model))
    for batch in first.batches[:100]:
        first.plain_step(batch)
    model.load_state_dict(first.model.state_dict())
    norms = [m for m in model if isinstance(m, nn.BatchNorm2d)]
    one = usual(seed, model, sgd(model, 0.005))

    def step(batch: Batch) -> Tensor:
        model.train()
        for norm in norms:
            norm.eval()
        one.optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        one.optimizer.step()
        return loss.detach()

    one.step = step
    return one


HEALTHY_STEPS = (
    Row(name="a likelihood, raised", make=lambda s: _likelihood(s, given="likelihood")),
    Row(name="a likelihood raised, its loss given", make=lambda s: _likelihood(s, given="loss")),
    Row(name="a minus in the step",
        make=lambda s: _likelihood(s, given="minus in step")),
    Row(name="a density, maximised", make=_density),
    Row(name="a probe of a body with dropout",
        make=lambda s: _probe(s, body=_dropped_body(norm=False))),
    Row(name="a probe of a body with norms",
        make=lambda s: _probe(s, body=_dropped_body(norm=True))),
    Row(name="a probe, all in evaluation mode",
        make=lambda s: _probe(s, body=_dropped_body(norm=True), whole=True)),
    Row(name="a probe of a body in a list", make=_beside),
    Row(name="features taken in evaluation mode", make=_features),
    Row(name="features computed before", make=_body_apart),
    Row(name="stochastic weight averaging", make=_swa),
    Row(name="an average with buffers", make=_average),
    Row(name="lookahead with norms", make=_lookahead),
    Row(name="a batch in uneven parts", make=_shares_of_a_batch),
    Row(name="mixup inside the step, smoothed", make=_mixup),
    Row(name="signs with a straight gradient", make=lambda s: usual(s, Signs())),
    Row(name="a tied autoencoder", make=_tied),
    Row(name="LARS, warm-up from 0", make=_lars),
    Row(name="random depth from 0", make=lambda s: usual(s, RandomDepth())),
    Row(name="crops and a slow teacher", make=_crops),
    Row(name="bright images first", make=_curriculum),
    Row(name="the harder half of a batch", make=_hard_examples),
    Row(name="a pupil of a teacher", make=_distilled),
    Row(name="SGD for the body, Adam for the head", make=_bodies_and_heads),
    Row(name="a virtual adversary", make=_virtual_adversary),
    Row(name="norms in evaluation mode", make=_copied),
)  # fmt: skip
