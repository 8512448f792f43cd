"""Teachers and judges inside a step, names that are new in each batch, and half precision."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def classes(count: int = 8, size: int = 32, kinds: int = 4) -> list[Batch]:
    centres = 3 * torch.randn(kinds, 16)
    labels = [torch.randint(kinds, (size,)) for _ in range(count)]
    return [(centres[y] + torch.randn(size, 16), y) for y in labels]


def layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


class Pupil(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = layers(16, 4), layers(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.small(x)


@pytest.mark.parametrize("kind", ["fault", "detached", "not held", "labels too"])
def test_a_teacher_that_a_step_trains_as_a_target_alone_is_named(kind: str) -> None:
    model = Pupil()
    held = model.small if kind == "not held" else model
    optimizer = torch.optim.Adam(held.parameters(), 2e-3)

    def step(batch: Batch) -> None:
        x, y = batch
        model.zero_grad()
        told = model.large(x)
        wanted = (told.detach() if kind == "detached" else told).softmax(1)
        loss = F.kl_div(model(x).log_softmax(1), wanted, reduction="batchmean")
        (loss + F.cross_entropy(told, y) if kind == "labels too" else loss).backward()
        optimizer.step()

    found = ravine.check(model, F.cross_entropy, classes(), optimizer, step=step, learn=False).codes
    assert ("teacher-trained" in found) == (kind == "fault")


class Together(Pupil):
    """Both outputs in one tensor (N, 4, 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.small(x), self.large(x)], 2)


@pytest.mark.parametrize("is_held", [True, False])
def test_a_teacher_whose_output_stands_beside_its_pupils_is_named(is_held: bool) -> None:
    model = Together()
    held = model if is_held else model.small
    optimizer = torch.optim.Adam(held.parameters(), 2e-3)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        return F.kl_div(out[..., 0].log_softmax(1), out[..., 1].softmax(1), reduction="batchmean")

    def step(batch: Batch) -> None:
        model.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    found = ravine.check(model, loss, classes(), optimizer, step=step, learn=False).codes
    assert ("teacher-trained" in found) == is_held


@pytest.mark.parametrize("detaches", [True, False])
def test_a_teacher_in_one_tensor_with_its_pupil_is_named_without_a_step(detaches: bool) -> None:
    def loss(out: Tensor, _: Tensor) -> Tensor:
        told, own = out[..., 1].softmax(1), out[..., 0].log_softmax(1)
        told = told.detach() if detaches else told
        return (told * (told.log() - own)).sum(1).mean()

    found = ravine.check(Together(), loss, classes(), learn=False).codes
    assert ("teacher-trained" in found) is not detaches


class Players(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.maker, self.judge = layers(4, 2), layers(2, 1)

    def forward(self, drawn: Tensor) -> Tensor:
        return self.maker(drawn)


def energy(out: Tensor, real: Tensor) -> Tensor:
    across = torch.cdist(out, real).mean()
    return 2 * across - torch.cdist(out, out).mean() - torch.cdist(real, real).mean()


def test_two_networks_under_one_optimizer_follow_each_other_and_no_measure() -> None:
    model = Players()
    optimizer = torch.optim.Adam(
        [
            {"params": model.maker.parameters(), "lr": 5e-4},
            {"params": model.judge.parameters(), "lr": 2e-3},
        ],
        betas=(0.0, 0.9),
    )

    def says(seen: Tensor, answer: float) -> Tensor:
        out = model.judge(seen)
        return F.binary_cross_entropy_with_logits(out, torch.full_like(out, answer))

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        made = model(batch[0])
        (says(batch[1], 1.0) + says(made.detach(), 0.0)).backward()
        model.judge.requires_grad_(False)
        says(made, 1.0).backward()
        model.judge.requires_grad_(True)
        optimizer.step()

    turns = [torch.rand(64, 1) * 6.28 for _ in range(8)]
    given = [(torch.randn(64, 4), torch.cat([t.cos(), t.sin()], 1)) for t in turns]
    found = ravine.check(model, energy, given, optimizer, step=step, learn=False)
    assert "step-trains-something-else" not in found.codes


@pytest.mark.parametrize("eps", [1e-8, 1e-3])
def test_an_eps_that_is_zero_in_half_precision_is_named(eps: float) -> None:
    model = layers(16, 4).half()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, eps=eps)
    given = [(torch.relu(x).half(), y) for x, y in classes()]  # zeros have gradients of 0

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out.float(), y)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    found = ravine.check(model, loss, given, optimizer, step=step)
    assert ("not-finite" in found.codes) == (eps == 1e-8)


def episode(centres: Tensor) -> Batch:
    own = torch.randperm(len(centres))[:5].repeat_interleave(10).view(5, 2, 5).transpose(0, 1)
    names = torch.arange(5).repeat_interleave(10).view(5, 2, 5).transpose(0, 1)
    x = centres[own.flatten()]
    return x + 0.5 * torch.randn_like(x), names.flatten()


def by_means(out: Tensor, names: Tensor) -> Tensor:
    known, asked = out[:25], out[25:]
    means = torch.stack([known[names[:25] == k].mean(0) for k in range(5)])
    return F.cross_entropy(-(torch.cdist(asked, means) ** 2), names[25:])


def test_names_that_are_new_in_each_episode_are_no_noise() -> None:
    centres = torch.randn(7, 16)
    given = [episode(centres) for _ in range(16)]
    found = ravine.check(layers(16, 8), by_means, given, labels_probe=True, learn=False)
    assert all(one.severity == "note" for one in found), found.codes
