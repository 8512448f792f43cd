"""A situation of the zoo's second part: a training as somebody would write it, with its own step.

    @dataclass Situation   model, loss, batches, optimizer, step, validate
    watch(situation)       check with the step, a monitor on the way, a check afterwards: merged

The first part (`zoo.py`) changes settings of one loop. Here each situation has a loop of its own,
since most faults lie there. Images: Fashion-MNIST at half size, from the sample that ships.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from data import images
from torch import Tensor, nn

import ravine
from ravine.checks.check_table import EXPLAINS
from ravine.findings.finding import Finding, Findings, merge

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]
Step = Callable[[Batch], Tensor]
_VALIDATIONS = 8


@dataclass(kw_only=True)
class Situation:
    """The live parts of a training.

    Attributes:
        model: that is watched.
        loss: (output, targets) to a 0-dim tensor, as `check` is given it.
        batches: as many as steps are trained, at least 16.
        optimizer: as check and monitor are given it; None where the loop makes its own.
        step: trains on one batch and returns its loss; None for the plain loop.
        validate: returns loss and accuracy (None where there is none); None for the plain one.
        held: (inputs, targets) that are held out.
        gives_step: whether `check` is given the step.
        gives_accuracy: whether the monitor is told the validation accuracy.
    """

    model: nn.Module
    batches: Sequence[Batch]
    held: Batch
    optimizer: torch.optim.Optimizer
    loss: Loss = F.cross_entropy
    step: Step | None = None
    validate: Callable[[], tuple[float, float | None]] | None = None
    gives_step: bool = True
    gives_accuracy: bool = True

    def plain_step(self, batch: Batch) -> Tensor:
        """Trains on one batch in the usual order."""
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.loss(self.model(batch[0]), batch[1])
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def plain_validation(self) -> tuple[float, float | None]:
        """Returns loss and accuracy of the model in evaluation mode on what is held out."""
        self.model.eval()
        return self.measure(self.model, self.held)

    @torch.no_grad()
    def measure(self, model: nn.Module, held: Batch) -> tuple[float, float | None]:
        """Returns loss and accuracy of a model on held-out examples, in the mode that it is in."""
        out, targets = model(held[0]), held[1]
        value = float(self.loss(out, targets))
        is_labels = isinstance(targets, Tensor) and not targets.is_floating_point()
        right = (out.argmax(1) == targets).double().mean() if is_labels else None
        return value, None if right is None else float(right)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the zoo.

    Attributes:
        name: in words.
        make: of a seed.
        codes: right names; () for a healthy run.
        source: `truth` for the list of wrong statements, an address of a public thread, or `own`.
    """

    name: str
    make: Callable[[int], Situation]
    codes: tuple[str, ...] = ()
    source: str = "own"


def fashion(seed: int, *, count: int = 4000) -> tuple[Batch, Batch]:
    """Returns training and held-out images (N, 1, 14, 14), normalised, with labels (N,)."""
    (x, y), (held_x, held_y) = images("fashion", None)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:count]
    return (x[order], y[order]), (held_x[:500], held_y[:500])


def batched(pair: Batch, seed: int, *, size: int = 64, steps: int = 140) -> list[Batch]:
    """Returns `steps` batches, shuffled before every epoch."""
    chance, found = torch.Generator().manual_seed(seed), list[Batch]()
    x, y = pair
    while len(found) < steps:
        order = torch.randperm(len(x), generator=chance)
        found += [(x[part], y[part]) for part in order.split(size) if len(part) == size]
    return found[:steps]


def mlp(width: int = 64, *, norm: bool = False, dropout: float = 0.0, outputs: int = 10,
        inputs: int = 196, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:  # fmt: skip
    """Returns two hidden layers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for size in (inputs, width):
        layers += [nn.Linear(size, width), *([nn.BatchNorm1d(width)] if norm else []), act()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def convnet(width: int = 8, *, norm: bool = True, channels: int = 1) -> nn.Sequential:
    """Returns three convolutions and a head."""
    layers: list[nn.Module] = []
    for place, (taken, out) in enumerate(((channels, width), (width, 2 * width), (2 * width,) * 2)):
        layers += [nn.Conv2d(taken, out, 3, padding=1, stride=1 + (place > 0))]
        layers += [*([nn.BatchNorm2d(out)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, 10))


def sgd(model: nn.Module, lr: float = 0.05) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def adam(model: nn.Module, lr: float = 2e-3) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=lr)


def usual(seed: int, model: nn.Module, optimizer: torch.optim.Optimizer | None = None,
          **given: Any) -> Situation:  # fmt: skip
    """Returns a healthy classifier of Fashion-MNIST, with what is given put in."""
    train, held = fashion(seed)
    return Situation(
        model=model,
        optimizer=optimizer or adam(model),
        **{"batches": batched(train, seed), "held": held, **given},
    )


def watch(one: Situation) -> tuple[Findings, dict[str, Any]]:
    """Returns what is found before, on the way and afterwards, and what the run came to."""
    step, validate = one.step or one.plain_step, one.validate or one.plain_validation
    began = time.monotonic()
    given = {"step": step} if one.gives_step else {}
    found: list[Finding] = list(
        ravine.check(one.model, one.loss, one.batches, one.optimizer, labels_probe=True, **given)
    )
    checked = time.monotonic() - began
    every, value, accuracy = max(1, len(one.batches) // _VALIDATIONS), float("nan"), None
    with ravine.Monitor(one.model, one.optimizer) as monitor:
        for number, batch in enumerate(one.batches):
            monitor.record(loss=step(batch))
            if number % every == every - 1:
                value, accuracy = validate()
                told = accuracy if one.gives_accuracy else None
                monitor.record(loss=value, split="validation", accuracy=told)
        found += monitor.findings
    facts = {
        "accuracy": accuracy,
        "loss": value if value == value and abs(value) < 1e9 else None,
        "check_seconds": round(checked, 2),
        "seconds": round(time.monotonic() - began, 2),
    }
    return merge(found, EXPLAINS), facts
