"""What a step does with gradients, clips and mixtures; samplers, numberings, parts of targets."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks import step_observation


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, batches: Any, loss: Any, *rest: Any, **given: Any) -> Any:
    return ravine.check(model, loss, batches, *rest, **{"learn": False} | given).codes


def network(inputs: int = 16, outputs: int = 4) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


def classes(count: int = 8, size: int = 32, kinds: int = 4) -> list[tuple[Tensor, Tensor]]:
    centres = 3 * torch.randn(kinds, 16)
    labels = [torch.randint(kinds, (size,)) for _ in range(count)]
    return [(centres[y] + torch.randn(size, 16), y) for y in labels]


@pytest.mark.parametrize("begun", [0, 2, 3])
@pytest.mark.parametrize("is_slow", [True, False])
@pytest.mark.parametrize("each", [True, False])
def test_gradients_that_are_cleared_between_accumulated_batches_are_named(
    each: bool, is_slow: bool, begun: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_slow:
        monkeypatch.setattr(step_observation, "_SECONDS", 0.0)
    model, calls = network(), [begun]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        if each or calls[0] % 4 == 0:
            optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        calls[0] += 1
        if calls[0] % 4 == 0:
            optimizer.step()

    found = codes(model, classes(), F.cross_entropy, optimizer, step=step)
    assert ("gradients-dropped" in found) == each
    assert "step-does-not-update" not in found


def in_parts(model: nn.Module, x: Tensor, y: Tensor, optimizer: Any, *, each: bool) -> None:
    for inputs, labels in zip(x.split(8), y.split(8), strict=True):
        if each:
            optimizer.zero_grad()
        (F.cross_entropy(model(inputs), labels) / 4).backward()


def sharpened(model: nn.Module, x: Tensor, y: Tensor, optimizer: Any) -> None:
    F.cross_entropy(model(x), y).backward()
    moves = [0.01 * p.grad.clone() for p in model.parameters() if p.grad is not None]
    for sign in (1, -1):
        with torch.no_grad():
            for p, move in zip(model.parameters(), moves, strict=True):
                p.add_(sign * move)
        if sign == 1:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()


def attacked(model: nn.Module, x: Tensor, y: Tensor, optimizer: Any) -> None:
    near = x.clone().requires_grad_()
    F.cross_entropy(model(near), y).backward()
    assert near.grad is not None
    optimizer.zero_grad()
    F.cross_entropy(model(x + 0.1 * near.grad.sign()), y).backward()


@pytest.mark.parametrize(
    ("how", "drops"),
    [
        (partial(in_parts, each=True), True),
        (partial(in_parts, each=False), False),
        (sharpened, False),
        (attacked, False),
    ],
)
def test_gradients_of_all_parts_but_the_last_that_are_cleared_are_named(
    how: Callable[..., None], drops: bool
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        how(model, *batch, optimizer)
        optimizer.step()

    found = codes(model, classes(), F.cross_entropy, optimizer, step=step)
    assert ("gradients-dropped" in found) == drops


@pytest.mark.parametrize("used_up", [True, False])
def test_clipping_of_a_used_up_iterator_is_named(used_up: bool) -> None:
    model = network()
    chosen: Any = filter(lambda p: p.requires_grad, model.parameters())
    chosen = chosen if used_up else list(chosen)
    optimizer = torch.optim.SGD(chosen, 0.1)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()

    found = codes(model, classes(), F.cross_entropy, optimizer, step=step)
    assert ("clipping-idle" in found) == used_up


def mixup(images: Tensor, order: Tensor, share: float) -> Tensor:
    return share * images + (1 - share) * images[order]


def cutmix(images: Tensor, order: Tensor, share: float) -> Tensor:
    wide = round(images.shape[3] * (1 - share))
    return torch.cat([images[order][..., :wide], images[..., wide:]], 3)


@pytest.mark.parametrize("exchanged", [True, False])
@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_shares_that_are_exchanged_inside_the_step_are_named(
    mix: Callable[[Tensor, Tensor, float], Tensor], exchanged: bool
) -> None:
    model = network(100)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        images, y = batch
        share, order = 0.7 + 0.1 * float(torch.rand(())), torch.randperm(len(images))
        out = model(mix(images, order, share))
        own = 1 - share if exchanged else share
        optimizer.zero_grad()
        loss = own * F.cross_entropy(out, y) + (1 - own) * F.cross_entropy(out, y[order])
        loss.backward()
        optimizer.step()

    batches = [(torch.randn(32, 1, 10, 10), torch.randint(4, (32,))) for _ in range(4)]
    findings = ravine.check(
        model, F.cross_entropy, batches, optimizer, step, labels_probe=True, learn=False
    )
    said = [one for one in findings if "share" in one.seen]
    assert [one.code for one in said] == ["step-trains-something-else"] * exchanged


@pytest.mark.parametrize("by_class", [True, False])
def test_batches_of_a_few_examples_are_named(by_class: bool) -> None:
    x, y = torch.randn(1000, 16), torch.randint(4, (1000,))
    batches = []
    for _ in range(8):
        chosen = torch.randint(10 if by_class else 1000, (32,))
        batches.append((x[chosen], y[chosen]))
    assert ("batches-repeat" in codes(network(), batches, F.cross_entropy)) == by_class


def test_a_rare_class_that_is_drawn_often_is_no_repetition() -> None:
    common, rare = torch.randn(1000, 16), torch.randn(5, 16)
    batches = []
    for _ in range(8):
        x = torch.cat([common[torch.randint(1000, (16,))], rare[torch.randint(5, (16,))]])
        batches.append((x, torch.arange(32) // 16))
    assert "batches-repeat" not in codes(network(outputs=2), batches, F.cross_entropy)


@pytest.mark.parametrize("balanced", [True, False])
def test_weights_of_classes_that_are_drawn_equally_often_are_named(balanced: bool) -> None:
    shares = torch.ones(4) if balanced else torch.tensor([20.0, 20.0, 1.0, 1.0])
    labels = [torch.multinomial(shares, 64, replacement=True) for _ in range(8)]
    batches = [(torch.randn(64, 16), y) for y in labels]
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.05, 0.05, 1.0, 1.0]))
    assert ("loss-ignores-examples" in codes(network(), batches, loss)) == balanced


@pytest.mark.parametrize("ignored", [True, False])
def test_labels_that_the_loss_passes_over_are_in_range(ignored: bool) -> None:
    batches = [(x, torch.where(torch.rand(32) < 0.5, -1, y)) for x, y in classes()]
    loss = nn.CrossEntropyLoss(ignore_index=-1) if ignored else _of_known
    assert ("labels-out-of-range" in codes(network(), batches, loss, learn=True)) != ignored


def _of_known(out: Tensor, labels: Tensor) -> Tensor:
    """A loss that takes −1 for the last class."""
    return -out.log_softmax(1)[torch.arange(len(labels)), labels].mean()


@pytest.mark.parametrize("order", [[2, 0, 3, 1], [0, 1, 2, 3]])
def test_a_teacher_whose_classes_are_in_another_order_is_named(order: list[int]) -> None:
    def loss(out: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
        labels, theirs = targets
        return F.cross_entropy(out, labels) + F.cross_entropy(out, theirs.softmax(1))

    batches = [
        (x, (y, 3 * F.one_hot(torch.tensor(order)[y], 4).float() + torch.randn(32, 4)))
        for x, y in classes()
    ]
    assert ("targets-contradict" in codes(network(), batches, loss)) == (order[0] != 0)


@pytest.mark.parametrize("mixed", [True, False])
def test_a_part_that_counts_its_classes_without_one_is_named(mixed: bool) -> None:
    def renumbered(y: Tensor) -> Tensor:
        other = (torch.rand(len(y)) < 0.5) & (y > 1)
        return torch.where(other, y - 1, y) if mixed else y

    batches = [(x, renumbered(y)) for x, y in classes(16, 64, kinds=8)]
    found = ravine.check(
        network(outputs=8), F.cross_entropy, batches, labels_probe=True, learn=False
    )
    assert ("label-noise" in found.codes) == mixed


@pytest.mark.parametrize("repeated", [True, False])
def test_heads_that_are_one_layer_and_give_one_output_are_a_warning(repeated: bool) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, one = nn.Linear(16, 8), nn.Linear(8, 1)
            self.heads = nn.ModuleList([one if repeated else nn.Linear(8, 1) for _ in range(3)])

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x).relu()
            return torch.cat([head(h) for head in self.heads], 1)

    batches = [(torch.randn(32, 16), torch.randint(2, (32, 3)).float()) for _ in range(4)]
    found = ravine.check(Heads(), F.binary_cross_entropy_with_logits, batches, learn=False)
    assert [(f.code, f.severity) for f in found] == [("shared-parameters", "warning")] * repeated


@pytest.mark.parametrize("end", [nn.ReLU(), nn.Identity()])
def test_a_range_is_seen_behind_the_loss_of_an_axis(end: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1), end, nn.Flatten(0))
    batches = [(torch.randn(32, 16), torch.randn(32)) for _ in range(4)]
    found = codes(model, batches, F.mse_loss)
    assert ("activation-on-logits" in found) == isinstance(end, nn.ReLU)


@pytest.mark.parametrize("moved", [True, False])
def test_masks_that_were_moved_by_another_draw_are_named(moved: bool) -> None:
    def shifted(x: Tensor) -> Tensor:
        draws = torch.randint(-3, 4, (len(x), 2)).tolist()
        return torch.stack([one.roll(draw, (-2, -1)) for one, draw in zip(x, draws, strict=True)])

    batches = []
    for _ in range(4):
        masks = torch.zeros(16, 14, 14, dtype=torch.long)
        for mask, (top, left) in zip(masks, torch.randint(2, 7, (16, 2)).tolist(), strict=True):
            mask[top : top + 5, left : left + 4] = 1
        pictures = masks[:, None] + 0.3 * torch.randn(16, 1, 14, 14)
        batches.append((pictures, shifted(masks) if moved else masks))
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    found = codes(model, batches, F.cross_entropy, labels_probe=True)
    assert ("labels-unrelated" in found) == moved


@pytest.mark.parametrize("masked_by", [0.0, 1e6])
def test_a_loss_that_is_least_in_one_point_is_named(masked_by: float) -> None:
    def loss(out: Tensor, labels: Tensor) -> Tensor:
        apart = ((out[:, None] - out[None]).square().sum(2) + 1e-6).sqrt()
        same = labels[:, None] == labels[None]
        nearest = torch.where(same, masked_by, apart).min(1).values
        return F.relu((apart * same).sum(1) / same.sum(1) - nearest + 1).mean()

    found = codes(network(outputs=16), classes(), loss)
    assert ("outputs-collapsed" in found) == (masked_by == 0)
