"""Trains a plan as somebody would, with the checks before and the rows on the way."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from data import images
from networks import build
from torch import Tensor, nn
from zoo import OPTIMIZERS, Plan

import ravine
from ravine.checks.check_table import EXPLAINS
from ravine.findings.finding import Finding, Findings, merge
from ravine.findings.history_detectors import find_over_time
from ravine.findings.run_trace import trace

Batch = tuple[Tensor, Tensor]
_VALIDATIONS = 10


@dataclass(kw_only=True)
class Training:
    """The live parts of a plan."""

    plan: Plan
    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: list[Batch]
    held: Batch

    def step(self, batch: Batch) -> Tensor:
        self.model.train(self.plan.trains)
        if self.plan.clears:
            self.optimizer.zero_grad()
        loss = self.plan.loss(self.model(batch[0]), batch[1])
        loss.backward()
        if self.plan.steps_optimizer:
            self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        self.model.eval()
        out = self.model(self.held[0])
        right = (out.argmax(1) == self.held[1]).double().mean()
        return float(self.plan.loss(out, self.held[1])), float(right)


def prepare(plan: Plan, seed: int, cifar: Path | None) -> Training:
    torch.manual_seed(seed)
    chance = torch.Generator().manual_seed(seed)
    (x, y), (held_x, held_y) = images(plan.data, cifar)
    kept = plan.keep(y, chance)[: plan.images]
    x, y = plan.change_images(x[kept], chance), plan.change_labels(y[kept], chance)
    batches: list[Batch] = []
    while len(batches) < max(plan.steps, 16):
        order = plan.order(y, chance)
        parts = [order[k : k + plan.batch] for k in range(0, len(order), plan.batch)]
        batches += [(x[part], y[part]) for part in parts if len(part) > 1]
    model = plan.change_model(build(plan.net, x.shape[1], x.shape[2], **plan.options))
    made = OPTIMIZERS[plan.optimizer](plan.learning(model), plan.lr, plan.decay)
    held = (plan.change_images(held_x, chance), plan.change_labels(held_y, chance))
    if plan.change_labels(torch.arange(10), chance).max() < 10:
        held = (held[0], held_y)  # the labels that are held out are right
    return Training(plan=plan, model=model, optimizer=made, batches=batches, held=held)


def train(training: Training) -> list[dict[str, Any]]:
    """Returns the rows of the run, as history.jsonl has them."""
    plan, rows = training.plan, []
    losses: list[float] = []
    every = max(1, plan.steps // _VALIDATIONS)
    for n in range(plan.steps):
        lr = plan.lr * plan.rate(n / plan.steps)
        for group in training.optimizer.param_groups:
            group["lr"] = lr
        try:
            losses.append(float(training.step(training.batches[n])))
        except (IndexError, RuntimeError):
            break  # labels out of range: it cannot be trained at all
        rows.append({"kind": "step", "step": n + 1, "loss": losses[-1], "lr": lr})
        if (n + 1) % every == 0:
            loss, accuracy = training.validate()
            train_loss = sum(losses[-every:]) / every
            rows.append({"kind": "epoch", "step": n + 1, "train_loss": train_loss, "loss": loss,
                         "accuracy": accuracy})  # fmt: skip
    return rows


def diagnose(plan: Plan, seed: int, cifar: Path | None) -> tuple[Findings, dict[str, Any]]:
    """Returns what is found before, on the way and afterwards, and what the run came to."""
    training = prepare(plan, seed, cifar)
    began = time.monotonic()
    found: list[Finding] = list(_check(training, labels_probe=True))
    checked = time.monotonic() - began
    rows = train(training)
    normalised = any(
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in training.model.modules()
    )
    found += find_over_time(trace(rows, classes=10, normalised=normalised))
    if plan.trains and normalised:
        found += [f for f in _check(training, learn=False) if f.code.startswith("norm-")]
    last = next((row for row in reversed(rows) if row["kind"] == "epoch"), {})
    facts = {
        "accuracy": last.get("accuracy"),
        "loss": last.get("train_loss"),
        "check_seconds": round(checked, 2),
        "seconds": round(time.monotonic() - began, 2),
    }
    return merge(found, EXPLAINS), {k: v if _known(v) else None for k, v in facts.items()}


def _known(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _check(training: Training, **options: bool) -> Sequence[Finding]:
    return ravine.check(
        training.model, training.plan.loss, training.batches, training.optimizer,
        step=training.step, **options,
    )  # fmt: skip
