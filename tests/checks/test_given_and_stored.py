"""Faults in what data sets keep, steps add up, and outputs can reach; each beside what is meant."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import ravine
from ravine.checks.mirrored_classes import VIEWS, exchanged_classes

Batch = tuple[Tensor, Any]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, loss: Any, found: Any, *args: Any, **given: Any) -> tuple[str, ...]:
    return ravine.check(model, loss, found, *args, **{"learn": False} | given).codes


class ClassToken(nn.Module):
    """A transformer whose class token alone is read."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, 16))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=batch_first)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.head(self.norm(tokens + self.attention(tokens, tokens, tokens)[0])[:, 0])


def test_attention_along_the_batch_is_named_where_all_outputs_are_the_same() -> None:
    batches = [(torch.randn(16, 6, 16), torch.randint(0, 4, (16,))) for _ in range(4)]

    assert codes(ClassToken(batch_first=False), F.cross_entropy, batches)[0] == "examples-mixed"
    assert "examples-mixed" not in codes(ClassToken(batch_first=True), F.cross_entropy, batches)


def test_softmax_over_labels_that_are_on_together_is_named() -> None:
    several = [(x, (x[:, :5] > 0).float()) for x in torch.randn(4, 32, 8)]
    single = [(x, F.one_hot(x[:, :5].argmax(1), 5).float()) for x, _ in several]
    body = [nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 5)]

    def multinomial(p: Tensor, counts: Tensor) -> Tensor:
        return -(p.clamp_min(1e-9).log() * counts).sum(1).mean()

    ends = nn.Sequential(*body, nn.Softmax(1))
    assert codes(ends, nn.BCELoss(), several) == ("activation-on-logits",)
    assert codes(ends, nn.MSELoss(), several) == ("activation-on-logits",)
    assert codes(nn.Sequential(*body, nn.Sigmoid()), nn.BCELoss(), several) == ()
    assert codes(ends, nn.BCELoss(), single) == ()
    assert codes(ends, multinomial, several) == ()


class TwoHeads(nn.Module):
    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.kind, self.box, self.end = nn.Linear(16, 3), nn.Linear(16, 4), end

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        body = self.body(x)
        return self.kind(body), self.end(self.box(body))


def boxes(unit: float) -> list[Batch]:
    found = [torch.randn(16, 8) for _ in range(4)]
    return [(x, (x[:, :3].argmax(1), unit * (x[:, 4:].sigmoid()))) for x in found]


def of_parts(out: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(out[0], targets[0]) + F.smooth_l1_loss(out[1], targets[1])


def test_a_part_of_the_outputs_that_cannot_reach_its_targets_is_named() -> None:
    first = "targets-not-scaled"

    assert codes(TwoHeads(nn.Sigmoid()), of_parts, boxes(20.0))[:1] == (first,)
    assert codes(TwoHeads(nn.Tanh()), of_parts, boxes(-20.0))[:1] == (first,)
    assert first not in codes(TwoHeads(nn.Sigmoid()), of_parts, boxes(1.0))
    assert first not in codes(TwoHeads(nn.Identity()), of_parts, boxes(20.0))


@pytest.mark.parametrize("parts", [1, 8])
def test_gradients_that_are_summed_over_parts_make_the_learning_rate_too_high(parts: int) -> None:
    centres = 2 * torch.randn(4, 8)
    labels = [torch.randint(0, 4, (64,)) for _ in range(8)]
    batches = [(centres[y] + torch.randn(64, 8), y) for y in labels]
    model = nn.Sequential(
        nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)

    def step(batch: tuple[Tensor, Tensor]) -> None:
        optimizer.zero_grad()
        for x, y in zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True):
            F.cross_entropy(model(x), y).backward()
        optimizer.step()

    found = ravine.check(model, F.cross_entropy, batches, optimizer, step=step)

    assert found.codes[:1] == (("rate-too-high",) if parts == 8 else ())
    if parts == 8:
        assert "8 times" in found[0].seen


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """Keeps pictures, and returns what a change makes of each."""

    def __init__(self, x: Tensor, y: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        self.x, self.y, self.change = x, y, change

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.change(self.x[index]), self.y[index]


def cut(image: Tensor) -> Tensor:
    column = int(torch.randint(0, 6, ()))
    image[:, :, column : column + 2] = 0
    return image


def network(classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(72, classes)
    )  # fmt: skip


def test_a_data_set_that_writes_into_what_it_keeps_is_named_and_put_back() -> None:
    x, y = torch.rand(64, 1, 8, 8) + 0.1, torch.randint(0, 4, (64,))
    written = Pictures(x.clone(), y, cut)
    copied = Pictures(x.clone(), y, lambda image: cut(image.clone()))

    def fade(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        return torch.stack([one[0].mul_(0.9) for one in items]), torch.stack([i[1] for i in items])

    faulty: list[tuple[Any, Any]] = [(written, None), (Subset(written, range(32)), None)]
    faulty.append((TensorDataset(x.clone(), y), fade))
    for data, collate in faulty:
        loader = DataLoader(data, batch_size=16, collate_fn=collate)
        assert "batch-changed" in codes(network(4), F.cross_entropy, loader)
    both: list[tuple[Any, Tensor]] = [(copied, copied.x), (TensorDataset(x, y), x)]
    for healthy, kept in both:
        loader = DataLoader(healthy, batch_size=16)
        assert "batch-changed" not in codes(network(4), F.cross_entropy, loader)
        assert torch.equal(kept, x)


def test_a_cache_that_the_first_reading_fills_is_no_change() -> None:
    class Cached(Pictures):
        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            if not bool(self.x[index].any()):
                self.x[index] = float(index + 1)
            return self.x[index].clone(), self.y[index]

    data = Cached(torch.zeros(64, 1, 8, 8), torch.arange(64) % 4, cut)

    assert "batch-changed" not in codes(network(4), F.cross_entropy, DataLoader(data, 16))


def sides(count: int = 320) -> tuple[Tensor, Tensor]:
    """Returns images of two shapes, bright at the left or at the right, and four classes."""
    y = torch.arange(count) % 4
    x = 0.1 * torch.randn(count, 1, 8, 8)
    rows = torch.where(y[:, None] % 2 == 0, torch.arange(8) < 3, torch.arange(8) > 4)
    x[:, 0] += rows[:, :, None] * torch.linspace(1, 0, 8)
    return torch.where((y < 2)[:, None, None, None], x, x.flip(3)), y


def half_mirrored(image: Tensor) -> Tensor:
    return image.flip(2) if torch.rand(()) < 0.5 else image


def test_a_mirror_that_makes_one_class_of_another_is_named() -> None:
    x, y = sides()
    mirrored, plain = Pictures(x, y, half_mirrored), Pictures(x, y, torch.clone)
    by_shape = Pictures(x, y % 2, half_mirrored)

    def found(data: Pictures) -> tuple[str, ...]:
        loader = DataLoader(data, batch_size=40, shuffle=True)
        return codes(network(4), F.cross_entropy, loader, labels_probe=True)

    assert exchanged_classes(x, y, VIEWS["left to right"]) == (0, 2)
    assert exchanged_classes(x, y % 2, VIEWS["left to right"]) is None
    assert found(mirrored)[:1] == ("labels-unrelated",)
    assert "labels-unrelated" not in found(plain)
    assert "labels-unrelated" not in found(by_shape)


def test_a_step_that_mirrors_such_images_is_named() -> None:
    x, y = sides()
    batches = list(zip(x.split(40), y.split(40), strict=True))

    def found(share: float) -> tuple[str, ...]:
        model = network(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

        def step(batch: Batch) -> None:
            turn = (torch.rand(len(batch[0])) < share)[:, None, None, None]
            optimizer.zero_grad()
            F.cross_entropy(
                model(torch.where(turn, batch[0].flip(3), batch[0])), batch[1]
            ).backward()
            optimizer.step()

        return codes(model, F.cross_entropy, batches, optimizer, step=step, labels_probe=True)

    assert "labels-unrelated" in found(0.5)
    assert "labels-unrelated" not in found(0.0)


@pytest.mark.parametrize("by_area", [False, True])
def test_shares_that_are_exchanged_in_mixed_targets_are_named(by_area: bool) -> None:
    centres = 2 * torch.randn(4, 1, 8, 8)

    def mixed(*, exchanged: bool) -> list[Batch]:
        found: list[Batch] = []
        for share in 2 * (0.125, 0.25, 0.375, 0.625, 0.75, 0.875):
            y = torch.randint(0, 4, (64,))
            x, order = centres[y] + torch.randn(64, 1, 8, 8), torch.randperm(64)
            if by_area:
                is_own = (torch.arange(8) < 8 * share).expand(64, 1, 8, 8)
                is_own = torch.stack([one.roll(n, 2) for n, one in enumerate(is_own)])
                x = torch.where(is_own, x, x[order])
            else:
                x = share * x + (1 - share) * x[order]
            rows, of_own = F.one_hot(y, 4).float(), 1 - share if exchanged else share
            found.append((x, of_own * rows + (1 - of_own) * rows[order]))
        return found

    def found(batches: list[Batch]) -> tuple[str, ...]:
        return codes(network(4), F.cross_entropy, batches, labels_probe=True)

    assert found(mixed(exchanged=True))[:1] == ("labels-unrelated",)
    assert "labels-unrelated" not in found(mixed(exchanged=False))


class Distiller(nn.Module):
    def __init__(self, *, detached: bool) -> None:
        super().__init__()
        self.detached = detached
        self.teacher, self.student = (
            nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        taught = self.teacher(x)
        return self.student(x), taught.detach() if self.detached else taught


def distilled(out: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
    student, teacher = (one.log_softmax(1) for one in out)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def distilled_with_labels(out: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return F.cross_entropy(out[0], labels) + distilled(out, labels)


def mutual(out: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
    return distilled_with_labels(out, labels) + distilled_with_labels((out[1], out[0]), labels)


def matched_in_the_batch(out: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
    a, b = (F.normalize(one, dim=1) for one in out)
    return F.cross_entropy(a @ b.T, torch.arange(len(a)))


@pytest.mark.parametrize(
    ("loss", "detached", "is_named"),
    [
        (distilled, False, True),
        (distilled_with_labels, False, True),
        (lambda out, _: F.mse_loss(*out), False, True),
        (distilled, True, False),
        (distilled_with_labels, True, False),
        (mutual, False, False),
        (matched_in_the_batch, False, False),
    ],
)
def test_a_teacher_that_learns_with_its_student_is_named(
    loss: Callable[..., Tensor], detached: bool, is_named: bool
) -> None:
    batches = [(x, (x[:, :4]).argmax(1)) for x in torch.randn(4, 32, 8)]

    found = codes(Distiller(detached=detached), loss, batches)

    assert ("teacher-trained" in found) == is_named


class Boxes(Dataset[tuple[Tensor, tuple[Tensor, Tensor]]]):
    """Keeps pictures with a kind and a place, and mirrors half of them."""

    def __init__(self, places: Tensor, *, with_places: bool) -> None:
        across = torch.linspace(0, 1, 12)
        bright = torch.exp(-40 * (across - places[:, None]) ** 2)[:, None, None]
        self.x = bright.expand(-1, 1, 12, 12) + 0.5 * torch.randn(len(places), 1, 12, 12)
        self.kinds = torch.randint(0, 3, (len(places),))
        self.boxes = torch.stack([places, 0.5 + 0 * places, torch.rand(len(places))], 1)
        self.with_places = with_places

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        image, box = self.x[index], self.boxes[index].clone()
        if torch.rand(()) < 0.5:
            image = image.flip(2)
            box[0] = 1 - box[0] if self.with_places else box[0]
        return image, (self.kinds[index], box)


@pytest.mark.parametrize("with_places", [False, True])
def test_a_data_set_that_mirrors_pictures_without_their_boxes_is_named(with_places: bool) -> None:
    model = TwoHeads(nn.Identity())
    model.body = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.ReLU())
    model.box = nn.Linear(16, 3)
    data = Boxes(torch.rand(400), with_places=with_places)

    found = codes(model, of_parts, DataLoader(data, 50, shuffle=True), labels_probe=True)

    assert ("labels-unrelated" in found) == (not with_places)
