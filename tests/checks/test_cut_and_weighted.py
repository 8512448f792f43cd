"""Tasks without a gradient, losses that explode, rates turned round, and steps that move values."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Finding

Batch = tuple[Any, Any]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def found(
    model: nn.Module, batches: Any, loss: Any, *rest: Any, **given: Any
) -> dict[str, Finding]:
    all_of_them = ravine.check(model, loss, batches, *rest, **{"learn": False} | given)
    return {one.code: one for one in all_of_them}


def vectors(count: int = 6, size: int = 32) -> list[Batch]:
    centres = 3 * torch.randn(4, 16)
    labels = [torch.randint(4, (size,)) for _ in range(count)]
    return [(centres[y] + torch.randn(size, 16), y) for y in labels]


class TwoTasks(nn.Module):
    """A class and a size, of one body or of two."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.body, other = (nn.Sequential(nn.Linear(16, 32), nn.ReLU()) for _ in range(2))
        self.other = other if kind == "apart" else self.body
        self.label, self.value = nn.Linear(32, 4), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x)
        if self.kind == "no_grad":
            with torch.no_grad():
                features = self.body(x)
        if self.kind == "detach":
            features = features.detach()
        return {"label": self.label(features), "size": self.value(self.other(x))[:, 0]}


@pytest.mark.parametrize(
    ("kind", "is_cut"),
    [("detach", True), ("no_grad", True), ("joined", False), ("apart", False)],
)
def test_a_task_that_does_not_teach_what_it_depends_on_is_named(kind: str, is_cut: bool) -> None:
    model = TwoTasks(kind)
    batches = [(x, (y, x.mean(1))) for x, y in vectors()]

    def loss(out: dict[str, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(out["label"], targets[0]) + F.mse_loss(out["size"], targets[1])

    named = found(model, batches, loss)
    assert ("no-gradient" in named and "parameters alone" in named["no-gradient"].seen) == is_cut


def focal(out: Tensor, y: Tensor, sign: float) -> Tensor:
    each = F.cross_entropy(out, y, reduction="none")
    return ((1 - torch.exp(sign * each)) ** 2 * each).mean()


def focal_of_masks(out: Tensor, y: Tensor, sign: float) -> Tensor:
    each = F.binary_cross_entropy_with_logits(out, y, reduction="none")
    return ((1 - torch.exp(sign * each)).abs() * each).mean()


LABEL_LOSSES: list[tuple[Callable[[Tensor, Tensor], Tensor], bool]] = [
    (lambda out, y: focal(out, y, 1.0), True),
    (lambda out, y: F.cross_entropy(out, y, reduction="none").exp().mean(), True),
    (lambda out, y: focal(out, y, -1.0), False),
    (F.cross_entropy, False),
    (lambda out, y: F.cross_entropy(out, y, label_smoothing=0.2), False),
    (lambda out, y: (out - F.one_hot(y, 4)).square().sum(1).mean(), False),
    (lambda out, y: F.multi_margin_loss(out, y, p=2), False),
]


@pytest.mark.parametrize(("loss", "is_exponential"), LABEL_LOSSES)
def test_a_loss_that_grows_exponentially_with_a_wrong_logit_is_named(
    loss: Callable[[Tensor, Tensor], Tensor], is_exponential: bool
) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    assert ("loss-grows-exponentially" in found(model, vectors(), loss)) == is_exponential


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_so_is_one_of_zeros_and_ones(sign: float) -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    batches = [(x, (x[:, :3] > 1).float()) for x, _ in vectors()]
    named = found(model, batches, lambda out, y: focal_of_masks(out, y, sign))
    assert ("loss-grows-exponentially" in named) == (sign > 0)


def trained_body(batches: list[Batch]) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    model.append(nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for x, y in batches * 5:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    model[-1] = nn.Linear(64, 4)
    return model


@pytest.mark.parametrize("turned_round", [True, False])
def test_rates_by_layer_that_leave_the_new_head_as_drawn_are_named(
    turned_round: bool,
) -> None:
    batches = vectors()
    model, rates = trained_body(batches), [3e-3, 1e-4, 1e-6]
    layers = [model[0], model[2], model[4]]
    groups = zip(layers, rates if turned_round else reversed(rates), strict=True)
    optimizer = torch.optim.AdamW(
        [{"params": one.parameters(), "lr": rate} for one, rate in groups]
    )
    named = found(model, batches, F.cross_entropy, optimizer)
    assert ("group-rate-differs" in named) == turned_round


@pytest.mark.parametrize("other_data", [True, False])
def test_statistics_of_frozen_norms_that_follow_the_same_data_are_a_note(other_data: bool) -> None:
    batches = vectors()
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        for x, _ in batches * 10:
            model(x)
    model[:2].requires_grad_(False)
    optimizer = torch.optim.SGD(model[3].parameters(), 0.1)
    if other_data:
        batches = [(1.5 * x + 0.5, y) for x, y in batches]

    def step(batch: Batch) -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    named = found(model, batches, F.cross_entropy, optimizer, step=step)
    severity = named["frozen-statistics-drift"].severity
    assert severity == ("warning" if other_data else "note")


def scenes(count: int = 6, size: int = 48) -> Tensor:
    """Returns images (count, size, 1, 12, 12), each with a bright spot of its own size."""
    places = torch.arange(12.0)
    centre = 3 + 6 * torch.rand(count, size, 2, 1)
    width = 1 + torch.rand(count, size, 1, 1)
    rows, columns = (
        torch.exp(-(((places - centre[:, :, k]) / width[:, :, 0]) ** 2)) for k in (0, 1)
    )
    return (rows[..., :, None] * columns[..., None, :])[:, :, None] + 0.02 * torch.randn(
        count, size, 1, 12, 12
    )


def place(x: Tensor) -> Tensor:
    return (x.mean((1, 2)) @ (torch.arange(12.0) - 5.5))[:, None]


def amount(x: Tensor) -> Tensor:
    return 10 * x.mean((2, 3))


def contrast(x: Tensor) -> Tensor:
    return x * (0.3 + 2 * torch.rand(len(x), 1, 1, 1))


def shift(x: Tensor) -> Tensor:
    return torch.stack([one.roll(int(torch.randint(-3, 4, ())), -1) for one in x])


def evened(x: Tensor) -> Tensor:
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)


def noise(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def normalised(x: Tensor) -> Tensor:
    return (x - 0.1) / 0.2


def of_regression(
    value: Callable[[Tensor], Tensor],
    change: Callable[[Tensor], Tensor],
    moves_targets: bool = False,
) -> dict[str, Finding]:
    """Returns what is found of a network that tells a value, with a step that changes images."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        x = change(batch[0])
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), value(x) if moves_targets else batch[1])
        loss.backward()
        optimizer.step()
        return loss.detach()

    batches = [(x, value(x)) for x in scenes()]
    return found(model, batches, F.mse_loss, optimizer, step=step, labels_probe=True)


@pytest.mark.parametrize(
    ("value", "change", "is_changed"),
    [
        (amount, contrast, True),
        (amount, evened, True),
        (place, shift, True),
        (amount, shift, False),
        (amount, noise, False),
        (place, noise, False),
        (amount, normalised, False),
    ],
)
def test_a_step_that_changes_what_values_measure_is_named(
    value: Callable[[Tensor], Tensor], change: Callable[[Tensor], Tensor], is_changed: bool
) -> None:
    assert ("step-trains-something-else" in of_regression(value, change)) == is_changed


def test_one_that_changes_the_values_along_with_the_images_is_not() -> None:
    assert "step-trains-something-else" not in of_regression(amount, contrast, moves_targets=True)
