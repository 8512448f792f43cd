"""Faults of loops: what a step does, which mode it runs in, which weights are evaluated.

Written from the list of wrong statements (`truth`), from public threads, and from own experience,
before a detector was changed for them. The right names were chosen with the rows.
"""

import copy
from typing import Any

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

_GITHUB = "https://github.com/"


def _remade(seed: int) -> Situation:
    one = usual(seed, model := mlp(), sgd(model, lr=0.01))

    def step(batch: Batch) -> Tensor:
        optimizer = sgd(model, lr=0.01)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _clipped(seed: int) -> Situation:
    one = usual(seed, model := convnet(norm=False))
    one.optimizer = optimizer = sgd(model)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-4)
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _clipped_before_unscaling(seed: int) -> Situation:
    one = usual(seed, model := mlp(norm=True))
    one.optimizer = optimizer = sgd(model)

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        (loss * 65536).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for p in model.parameters():
            assert p.grad is not None
            p.grad /= 65536
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _train_forgotten(seed: int) -> Situation:
    one = usual(seed, model := convnet())
    optimizer = one.optimizer

    def step(batch: Batch) -> Tensor:  # model.train() stands before the first epoch alone
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _l2_in_step(seed: int, *, in_loss: bool = False) -> Situation:
    one = usual(seed, model := mlp(), sgd(model, lr=0.02))
    optimizer = one.optimizer

    def loss_of(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 0.3 * sum(p.square().sum() for p in model.parameters())

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step = step
    if in_loss:
        one.loss = loss_of
    return one


class _Average:
    """Exponential moving average of weights, without a correction for its start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = copy.deepcopy(model), decay

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        for mine, its in zip(self.model.parameters(), model.parameters(), strict=True):
            mine.lerp_(its, 1 - self.decay)


def _young_average(seed: int) -> Situation:
    one = usual(seed, model := mlp())
    average, plain = _Average(model, 0.9999), one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        average.update(model)
        return loss

    one.step = step
    one.validate = lambda: one.measure(average.model.eval(), one.held)
    return one


def _average_made_before_loading(seed: int) -> Situation:
    """The weights of an earlier run are loaded after the average was made."""
    one = usual(seed, model := mlp(norm=True))
    average = _Average(model, 0.999)
    for batch in one.batches[:60]:
        one.plain_step(batch)
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        average.update(model)
        return loss

    one.step = step
    one.validate = lambda: one.measure(average.model.eval(), one.held)
    return one


def _average_stays(seed: int) -> Situation:
    """Validation copies the average into the model and does not put the weights back."""
    one = usual(seed, model := mlp())
    average, plain, measure = _Average(model, 0.995), one.plain_step, one.plain_validation

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        average.update(model)
        return loss

    def validate() -> tuple[float, float | None]:
        model.load_state_dict(average.model.state_dict())
        return measure()

    one.step, one.validate = step, validate
    return one


def _resumed_from_average(seed: int) -> Situation:
    one = usual(seed, model := mlp(), sgd(model))
    average, plain, done = _Average(model, 0.999), one.plain_step, [0]

    def step(batch: Batch) -> Tensor:
        done[0] += 1
        if done[0] % 40 == 0:  # the job is killed now and then, and goes on
            model.load_state_dict(average.model.state_dict())
        loss = plain(batch)
        average.update(model)
        return loss

    one.step = step
    return one


def _clamped_weights(seed: int) -> Situation:
    """A line left over from a Wasserstein critic."""
    one = usual(seed, model := mlp(), sgd(model))
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-0.005, 0.005)
        return loss

    one.step = step
    return one


def _frozen_with_drift(seed: int) -> Situation:
    """A backbone that is frozen, and whose batch norms go on following the new images."""
    one = usual(seed, model := convnet())
    for batch in one.batches[:80]:
        one.plain_step(batch)
    for p in model[:-1].parameters():
        p.requires_grad_(False)
    x, y = one.held
    one.batches = [(0.3 * x - 1.5, y) for x, y in one.batches]  # another camera
    one.held = (0.3 * x - 1.5, y)
    head = model[-1]
    assert isinstance(head, nn.Linear)
    head.reset_parameters()
    one.optimizer = adam(head)
    return one


def _validated_in_training_mode(seed: int, *, dropout: float = 0.5) -> Situation:
    one = usual(seed, model := mlp(norm=True, dropout=dropout))

    def validate() -> tuple[float, float | None]:
        return one.measure(model, one.held)

    one.validate = validate
    return one


def _scheduler_each_step(seed: int) -> Situation:
    one = usual(seed, model := mlp(), sgd(model, lr=0.1))
    schedule = torch.optim.lr_scheduler.StepLR(one.optimizer, 3, 0.1)  # meant for epochs
    plain = one.plain_step

    def step(batch: Batch) -> Tensor:
        loss = plain(batch)
        schedule.step()
        return loss

    one.step = step
    return one


class _Lists(nn.Module):
    """Half of its layers lie in a list that the module does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(196, 64), nn.Linear(64, 10)
        self.hidden = [nn.Linear(64, 64) for _ in range(3)]

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.flatten(1)))
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.last(x)


def _never_steps(seed: int) -> Situation:
    """A counter of accumulated batches that begins anew in every call."""
    one = usual(seed, model := convnet())
    optimizer = one.optimizer

    def step(batch: Batch) -> Tensor:
        model.train()
        count = 0
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        count += 1
        if count % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    one.step = step
    return one


class _Lookahead(torch.optim.Optimizer):
    """A wrapper that passes groups and state on, and forgets the inner step."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        super().__init__(inner.param_groups, {})
        self.inner = inner
        self.slow = [[p.detach().clone() for p in g["params"]] for g in inner.param_groups]
        self.count = 0

    def step(self, closure: Any = None) -> None:
        del closure
        self.count += 1
        if self.count % 5 == 0:
            with torch.no_grad():
                for group, slow in zip(self.param_groups, self.slow, strict=True):
                    for p, kept in zip(group["params"], slow, strict=True):
                        kept.lerp_(p, 0.5)
                        p.copy_(kept)


def _wrapper_never_steps(seed: int) -> Situation:
    model = mlp()
    return usual(seed, model, _Lookahead(adam(model)))


def _cleared_before_step(seed: int) -> Situation:
    one = usual(seed, model := mlp())
    optimizer = one.optimizer

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _copied_loss(seed: int) -> Situation:
    one = usual(seed, model := mlp())
    optimizer = one.optimizer

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(model(batch[0]), batch[1])
        loss = torch.tensor(
            value.item(), requires_grad=True
        )  # so that backward() does not complain
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _maximises(seed: int) -> Situation:
    model = mlp()
    return usual(seed, model, torch.optim.SGD(model.parameters(), lr=0.02, maximize=True))


def _bfloat16_weights(seed: int) -> Situation:
    train, held = fashion(seed)
    model = mlp().bfloat16()
    half = [(x.bfloat16(), y) for x, y in batched(train, seed)]
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-3)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out.float(), y)

    return Situation(model=model, optimizer=optimizer, batches=half, loss=loss,
                    held=(held[0].bfloat16(), held[1]))  # fmt: skip


def _slow_group(seed: int) -> Situation:
    """The body has the rate that was meant for a trained one; it is fresh."""
    model = convnet()
    groups = [{"params": model[:-1].parameters(), "lr": 1e-8}, {"params": model[-1].parameters()}]
    return usual(seed, model, torch.optim.Adam(groups, lr=2e-3))


def _fast_group(seed: int) -> Situation:
    model = mlp()
    groups = [{"params": model[:-1].parameters()}, {"params": model[-1].parameters(), "lr": 50.0}]
    return usual(seed, model, torch.optim.SGD(groups, lr=0.05))


def _labels_of_batch_before(seed: int) -> Situation:
    one = usual(seed, model := mlp())
    optimizer, before = one.optimizer, [one.batches[-1][1]]

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), before[0])
        before[0] = batch[1]
        loss.backward()
        optimizer.step()
        return loss.detach()

    one.step = step
    return one


def _reinitialised(seed: int) -> Situation:
    """The model is built in the loop over epochs."""
    one = usual(seed, model := mlp())
    plain, done = one.plain_step, [0]

    def step(batch: Batch) -> Tensor:
        done[0] += 1
        if done[0] % 20 == 0:
            for module in model.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
        return plain(batch)

    one.step = step
    return one


def _decay_in_adam(seed: int) -> Situation:
    model = mlp()
    return usual(seed, model, torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=150.0))


FAULTS_OF_LOOPS: list[Row] = [
    Row(name="optimizer made anew in each step", make=_remade, codes=("optimizer-remade",),
        source=_GITHUB + "alan-turing-institute/deepsensor/issues/47"),
    Row(name="clipping at 1e-4", make=_clipped, codes=("updates-too-small",), source="truth"),
    Row(name="clipping before unscaling", make=_clipped_before_unscaling,
        codes=("updates-too-small",),
        source=_GITHUB + "Lightning-AI/pytorch-lightning/issues/9599"),
    Row(name="train() forgotten after validation", make=_train_forgotten, codes=("eval-mode",),
        source=_GITHUB + "wkentaro/pytorch-fcn/issues/57"),
    Row(name="L2 term of 0.3 in the step", make=_l2_in_step, codes=("decay-too-strong",),
        source=_GITHUB + "rutgerswiselab/NCR/issues/2"),
    Row(name="L2 term of 0.3 in the loss", make=lambda s: _l2_in_step(s, in_loss=True),
        codes=("decay-too-strong",), source="truth"),
    Row(name="decoupled decay 150", make=_decay_in_adam, codes=("decay-too-strong",)),
    Row(name="average evaluated after a few steps", make=_young_average,
        codes=("averaged-weights-lag",), source="truth"),
    Row(name="average made before weights are loaded", make=_average_made_before_loading,
        codes=("averaged-weights-lag",), source=_GITHUB + "BangLiu/QANet-PyTorch/issues/4"),
    Row(name="average stays in the model after validation", make=_average_stays,
        codes=("weights-changed-outside",),
        source=_GITHUB + "PKU-YuanGroup/Open-Sora-Plan/issues/186"),
    Row(name="resumed from the average", make=_resumed_from_average,
        codes=("weights-changed-outside",),
        source=_GITHUB + "Megvii-BaseDetection/YOLOX/issues/1318"),
    Row(name="weights clamped in each step", make=_clamped_weights,
        codes=("weights-changed-outside",)),
    Row(name="weights drawn anew in the loop", make=_reinitialised,
        codes=("weights-changed-outside",)),
    Row(name="frozen backbone whose statistics drift", make=_frozen_with_drift,
        codes=("frozen-statistics-drift",), source=_GITHUB + "kdexd/virtex/issues/16"),
    Row(name="evaluated in training mode", make=_validated_in_training_mode,
        codes=("evaluated-in-training-mode",),
        source=_GITHUB + "wolny/pytorch-3dunet/issues/53"),
    Row(name="schedule of epochs stepped in each batch", make=_scheduler_each_step,
        codes=("rate-too-low",), source=_GITHUB + "ivadomed/ivadomed/pull/55"),
    Row(name="layers in a Python list", make=lambda s: usual(s, _Lists()),
        codes=("parameters-not-registered",), source=_GITHUB + "pytorch/pytorch/issues/715"),
    Row(name="accumulation that never steps", make=_never_steps, codes=("step-does-not-update",)),
    Row(name="wrapped optimizer that never steps", make=_wrapper_never_steps,
        codes=("step-does-not-update",), source="truth"),
    Row(name="zero_grad between backward and step", make=_cleared_before_step,
        codes=("step-does-not-update",), source=_GITHUB + "gaozhihan/PreDiff/issues/32"),
    Row(name="loss copied into a new tensor", make=_copied_loss,
        codes=("step-does-not-update", "no-gradient")),
    Row(name="optimizer that maximises", make=_maximises, codes=("step-climbs",)),
    Row(name="weights in bfloat16, small steps", make=_bfloat16_weights,
        codes=("updates-too-small", "rate-too-low"),
        source=_GITHUB + "pytorch/pytorch/issues/120376"),
    Row(name="a group with a rate of 1e-8", make=_slow_group,
        codes=("rate-too-low", "group-rate-differs")),
    Row(name="a group with a rate of 50", make=_fast_group,
        codes=("rate-too-high", "group-rate-differs")),
    Row(name="labels of the batch before", make=_labels_of_batch_before,
        codes=("step-trains-something-else", "labels-unrelated")),
]  # fmt: skip
