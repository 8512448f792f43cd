"""Faults of the zoo's third part: other networks, losses and loops than in the second.

Written after the split, when the detectors stood; all of them belong to the half to work on.
"""

import copy

import torch
import torch.nn.functional as F
from situation import Batch, Row, Situation, adam, batched, convnet, fashion, mlp, sgd, usual
from torch import Tensor, nn
from torch.optim import swa_utils


class Rows(nn.Module):
    """An image as a sequence of its rows, through an LSTM.

    Args:
        batch_first: False where the call forgets that the first axis is the batch.
    """

    def __init__(self, *, batch_first: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(14)
        self.rows = nn.LSTM(14, 48, batch_first=batch_first)
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rows(self.norm(x.squeeze(1)))[0][:, -1])


class Block(nn.Module):
    """A transformer's block, norm in front."""

    def __init__(self, wide: int, *, batch_first: bool = True) -> None:
        super().__init__()
        self.before, self.behind = nn.LayerNorm(wide), nn.LayerNorm(wide)
        self.mix = nn.MultiheadAttention(wide, 4, batch_first=batch_first)
        self.each = nn.Sequential(nn.Linear(wide, 2 * wide), nn.GELU(), nn.Linear(2 * wide, wide))

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        x = x + self.mix(y, y, y, need_weights=False)[0]
        return x + self.each(self.behind(x))


class Patches(nn.Module):
    """Patches of 2 by 7 as tokens, through blocks."""

    def __init__(self, blocks: nn.ModuleList | None = None, **given: bool) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 32, (2, 7), stride=(2, 7))
        self.places = nn.Parameter(0.1 * torch.randn(1, 14, 32))
        self.blocks = blocks or nn.ModuleList(Block(32, **given) for _ in range(2))
        self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.embed(x).flatten(2).mT + self.places
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


class Tinted(nn.Module):
    """A network of coloured images, without norms."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convnet(channels=3, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def tinted(x: Tensor) -> Tensor:
    """Returns grey images (N, 1, H, W) in colour (N, 3, H, W)."""
    return x * torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1) + torch.tensor([0.8, 0.0, -0.8]).view(
        1, 3, 1, 1
    )


class Functional(nn.Module):
    """Dropout as a function, whose argument `training` is left at its default."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 16, 5), nn.Linear(400, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.silu(self.a(x)), 2).flatten(1)
        return self.c(F.dropout(F.silu(self.b(x)), 0.4))


def _remade(seed: int) -> Situation:
    model = Patches()

    def step(batch: Batch) -> Tensor:
        model.train()
        own = torch.optim.AdamW(model.parameters(), lr=1e-3)
        loss = F.cross_entropy(model(batch[0]), batch[1])
        own.zero_grad()
        loss.backward()
        own.step()
        return loss.detach()

    return usual(seed, model, torch.optim.AdamW(model.parameters(), lr=1e-3), step=step)


def _imagenet_of_bytes(seed: int) -> Situation:
    def prepared(x: Tensor) -> Tensor:
        return ((x * 90 + 73).clamp(0, 255) - 0.449) / 0.226

    return _prepared_both(seed, convnet(norm=False), prepared)


def _scaled_twice(seed: int) -> Situation:
    return _prepared_both(seed, mlp(act=nn.Tanh), lambda x: (x * 0.35 + 0.29).clamp(0, 1) / 255)


def _prepared_both(seed: int, model: nn.Module, prepared: object) -> Situation:
    assert callable(prepared)
    (x, y), (held_x, held_y) = fashion(seed)
    return usual(
        seed, model, sgd(model, 0.02),
        batches=batched((prepared(x), y), seed), held=(prepared(held_x), held_y),
    )  # fmt: skip


def _bgr(seed: int) -> Situation:
    (x, y), (held_x, held_y) = fashion(seed)
    model = Tinted()
    return usual(
        seed, model, adam(model),
        batches=batched((tinted(x), y), seed), held=(tinted(held_x).flip(1), held_y),
    )  # fmt: skip


def _bytes_in_validation(seed: int) -> Situation:
    (x, y), (held_x, held_y) = fashion(seed)
    scaled = x * 0.35 + 0.29
    model = Rows()
    model.norm = nn.Identity()  # type: ignore[assignment]
    return usual(
        seed, model, adam(model, 4e-3), batches=batched((scaled, y), seed),
        held=(255 * (held_x * 0.35 + 0.29), held_y),
    )  # fmt: skip


def _repeated_block(seed: int) -> Situation:
    model = Patches(nn.ModuleList([Block(32)] * 3))
    return usual(seed, model, torch.optim.RAdam(model.parameters(), lr=2e-3))


def _clipped_scaled(seed: int) -> Situation:
    model = convnet(norm=True)
    optimizer, scaler = sgd(model, 0.02), torch.amp.GradScaler("cpu", init_scale=2.0**16)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _clipped_by_value(seed: int) -> Situation:
    model = Rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, nesterov=True)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 1e-7)
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _train_forgotten(seed: int) -> Situation:
    model = mlp(dropout=0.5, act=nn.ELU)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    model.eval()  # after the validation before the first epoch

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _absolute_term(seed: int) -> Situation:
    model = convnet()
    optimizer = adam(model, 1e-3)

    def penalised(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 0.05 * sum(
            (p.abs().sum() for p in model.parameters()), torch.zeros(())
        )

    return usual(seed, model, optimizer, loss=penalised)


def _coupled_decay(seed: int) -> Situation:
    model = Patches()
    return usual(seed, model, torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=0.3))


def _young_average(seed: int) -> Situation:
    model = Patches()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9999))
    average.update_parameters(model)
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        average.update_parameters(model)
        return loss

    @torch.no_grad()
    def validate() -> tuple[float, float | None]:
        average.eval()
        return one.measure(average, one.held)

    return usual(seed, model, optimizer, step=step, validate=validate)


def _held_shuffled(seed: int) -> Situation:
    _, (held_x, held_y) = fashion(seed)
    order = torch.randperm(len(held_x), generator=torch.Generator().manual_seed(seed))
    model = Rows()
    return usual(seed, model, adam(model, 5e-3), held=(held_x[order], held_y))


def _cleared_late(seed: int) -> Situation:
    model = convnet()
    optimizer = sgd(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _head_put_in_later(seed: int) -> Situation:
    model = Patches()
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    model.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))
    return usual(seed, model, optimizer)


def _time_first(seed: int) -> Situation:
    model = Rows(batch_first=False)
    return usual(seed, model, adam(model, 5e-3))


def _attention_over_the_batch(seed: int) -> Situation:
    model = Patches(batch_first=False)
    return usual(seed, model, adam(model))


def _exponential_of_epochs(seed: int) -> Situation:
    model = Rows()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    one = usual(seed, model, optimizer)

    def step(batch: Batch) -> Tensor:
        loss = one.plain_step(batch)
        schedule.step()
        return loss

    return usual(seed, model, optimizer, step=step)


def _summed(seed: int) -> Situation:
    model = convnet()
    return usual(
        seed, model, sgd(model, 0.1), loss=lambda out, y: F.cross_entropy(out, y, reduction="sum")
    )


def _softmax_then_nll(seed: int) -> Situation:
    model = nn.Sequential(Patches(), nn.Softmax(-1))
    return usual(seed, model, adam(model), loss=F.nll_loss)


def _drifting_body(seed: int) -> Situation:
    model = nn.Sequential(convnet(), nn.Linear(10, 10))
    donor = usual(seed, model, adam(model))
    for batch in donor.batches[:60]:
        donor.plain_step(batch)
    for p in model[0].parameters():
        p.requires_grad_(False)
    (x, y), (held_x, held_y) = fashion(seed + 7)
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    return usual(seed, model, optimizer, batches=batched((1.5 * x.flip(-2) + 0.5, y), seed),
                 held=(1.5 * held_x.flip(-2) + 0.5, held_y))  # fmt: skip


def _one_column(seed: int) -> Situation:
    (x, _), (held_x, _) = fashion(seed)
    y, held_y = (t.mean((1, 2, 3)) * 3 for t in (x, held_x))
    model = mlp(outputs=1, act=nn.GELU)
    return usual(seed, model, adam(model), loss=F.smooth_l1_loss,
                 batches=batched((x, y), seed), held=(held_x, held_y))  # fmt: skip


def _rounded(seed: int) -> Situation:
    model = Patches().to(torch.bfloat16)
    (x, y), (held_x, held_y) = fashion(seed)
    return usual(
        seed, model, torch.optim.SGD(model.parameters(), lr=1e-3),
        batches=batched((x.bfloat16(), y), seed), held=(held_x.bfloat16(), held_y),
    )  # fmt: skip


def _stale_copy(seed: int) -> Situation:
    model = convnet()
    optimizer = adam(model)
    stale = copy.deepcopy(model)
    one = usual(seed, model, optimizer)

    @torch.no_grad()
    def validate() -> tuple[float, float | None]:
        stale.eval()
        return one.measure(stale, one.held)

    return usual(seed, model, optimizer, validate=validate)


def _multiplied_twice(seed: int) -> Situation:
    model = mlp(norm=True)
    optimizer = sgd(model, 0.05)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss / len(batch[1]) / 64).backward()
        optimizer.step()
        return loss.detach()

    return usual(seed, model, optimizer, step=step)


def _weights_drawn_again(seed: int) -> Situation:
    model = convnet()
    optimizer = adam(model)
    one, seen = usual(seed, model, optimizer), [0]

    def step(batch: Batch) -> Tensor:
        seen[0] += 1
        if seen[0] % 30 == 0:
            model.apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None)
        return one.plain_step(batch)

    return usual(seed, model, optimizer, step=step)


FAULTS_OF_OTHERS: list[Row] = [
    Row(name="AdamW made in each step, a transformer", make=_remade, codes=("optimizer-remade",)),
    Row(name="ImageNet's mean on pixels of 0..255", make=_imagenet_of_bytes,
        codes=("inputs-not-scaled",)),
    Row(name="divided by 255 twice, tanh", make=_scaled_twice, codes=("inputs-not-scaled",)),
    Row(name="validation in BGR", make=_bgr, codes=("validation-prepared-differently",)),
    Row(name="validation in 0..255, training in 0..1", make=_bytes_in_validation,
        codes=("validation-prepared-differently",)),
    Row(name="one transformer block three times", make=_repeated_block,
        codes=("shared-parameters",)),
    Row(name="clipping of scaled gradients, a loop with a scaler", make=_clipped_scaled,
        codes=("updates-too-small",)),
    Row(name="clipping by value at 1e-7", make=_clipped_by_value, codes=("updates-too-small",)),
    Row(name="dropout as a function, argument left out", make=lambda seed: usual(
        seed, Functional()), codes=("noisy-evaluation",)),
    Row(name="eval() before the first epoch, dropout alone", make=_train_forgotten,
        codes=("eval-mode",)),
    Row(name="L1 term of 0.05 in the loss", make=_absolute_term, codes=("decay-too-strong",)),
    Row(name="Adam with weight decay 0.3", make=_coupled_decay, codes=("decay-too-strong",)),
    Row(name="torch's averaged model with decay 0.9999", make=_young_average,
        codes=("averaged-weights-lag",)),
    Row(name="validation images shuffled alone, an LSTM", make=_held_shuffled,
        codes=("validation-labels-unrelated",)),
    Row(name="zero_grad between backward and step", make=_cleared_late,
        codes=("step-does-not-update",)),
    Row(name="a head put in after the optimizer", make=_head_put_in_later,
        codes=("not-in-optimizer",)),
    Row(name="an LSTM that takes the batch for time", make=_time_first,
        codes=("examples-mixed",)),
    Row(name="attention over the batch", make=_attention_over_the_batch,
        codes=("examples-mixed",)),
    Row(name="exponential schedule of epochs in each batch", make=_exponential_of_epochs,
        codes=("rate-too-low",)),
    Row(name="a sum over the batch with the rate of a mean", make=_summed,
        codes=("rate-too-high", "diverged", "not-finite")),
    Row(name="softmax before nll_loss", make=_softmax_then_nll,
        codes=("loss-expects-log-probabilities",)),
    Row(name="frozen body whose statistics drift, other images", make=_drifting_body,
        codes=("frozen-statistics-drift",)),
    Row(name="one column against a vector", make=_one_column, codes=("targets-broadcast",)),
    Row(name="a transformer in bfloat16, small rate", make=_rounded,
        codes=("updates-too-small", "rate-too-low")),
    Row(name="a copy from before training is evaluated", make=_stale_copy,
        codes=("validation-at-chance", "averaged-weights-lag")),
    Row(name="loss divided by the batch twice", make=_multiplied_twice,
        codes=("updates-too-small", "rate-too-low")),
    Row(name="weights drawn anew each epoch", make=_weights_drawn_again,
        codes=("weights-changed-outside",)),
]  # fmt: skip
