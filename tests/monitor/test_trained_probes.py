"""What passes of the trained network tell of its loop: mixed examples, statistics, validation."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]
Change = Callable[[Tensor], Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def images(count: int, kinds: Tensor) -> Batch:
    """Returns smooth images (N, 1, 12, 12) of classes (K, 1, 4, 4)."""
    y = torch.randint(len(kinds), (count,))
    coarse = kinds[y] + 0.7 * torch.randn(count, 1, 4, 4)
    return F.interpolate(coarse, (12, 12), mode="bicubic"), y


def convnet(depth: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for place in range(depth):
        layers += [nn.Conv2d(8 if place else 1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4))


def codes(
    model: nn.Module,
    *,
    beside: Callable[[nn.Module, Tensor], Tensor] | None = None,
    validated: Change = lambda x: x,
    neighbours: bool = False,
    steps: int = 80,
) -> tuple[str, ...]:
    """Returns what a monitor finds of a training with a term beside, and with its validation."""
    kinds = torch.randn(4, 1, 4, 4)
    (x, y), held = images(800, kinds), images(200, kinds)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(steps):
            part = torch.randint(800, (32,))
            model.train()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[part]), y[part])
            if beside is not None:
                loss = loss + beside(model, x[part])
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 10 == 9:
                model.eval()
                with torch.no_grad():
                    out = model(validated(held[0]))
                    if neighbours:
                        model(x)
                right = float((out.argmax(1) == held[1]).double().mean())
                value = F.cross_entropy(out, held[1])
                monitor.record(loss=value, split="validation", accuracy=right)
        return monitor.findings.codes


def outliers(model: nn.Module, x: Tensor) -> Tensor:
    """Asks for unsure answers to dark images of every kind, in passes of their own."""
    far = [3 * x - 4, 4 - 3 * x[torch.randperm(len(x))], 5 * torch.randn_like(x)]
    return sum((-0.1 * F.log_softmax(model(one), 1).mean() for one in far), torch.zeros(()))


def similar(model: nn.Module, x: Tensor) -> Tensor:
    """Asks for the same answers to images with a little noise."""
    return (model(x).softmax(1) - model(x + 0.1 * torch.randn_like(x)).softmax(1)).square().mean()


def test_statistics_that_a_second_pass_of_other_inputs_moves_are_named() -> None:
    torch.manual_seed(1)
    assert codes(convnet(3), beside=outliers)[:1] == ("norm-statistics-disagree",)


def test_a_second_pass_of_like_inputs_is_no_finding() -> None:
    assert codes(convnet(), beside=similar) == ()


def mirrored(x: Tensor) -> Tensor:
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def moved(x: Tensor) -> Tensor:
    draws = torch.randint(-1, 2, (len(x), 2)).tolist()
    return torch.stack([one.roll(draw, (1, 2)) for one, draw in zip(x, draws, strict=True)])


def in_any_order(x: Tensor) -> Tensor:
    return x[torch.randperm(len(x))]


@pytest.mark.parametrize("change", [mirrored, moved])
def test_validation_that_is_augmented_by_chance_is_named(change: Change) -> None:
    assert codes(convnet(), validated=change) == ("validation-prepared-differently",)


def test_validation_in_another_order_each_time_is_not_augmented() -> None:
    assert "validation-prepared-differently" not in codes(convnet(), validated=in_any_order)


def test_neighbours_that_are_sought_in_training_do_not_make_validation_known() -> None:
    assert codes(convnet(), neighbours=True) == ()


class Attends(nn.Module):
    """Tokens that attend to each other, of one image or across the batch."""

    def __init__(self, *, within: bool) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(12, 16), nn.Linear(16, 4)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=within)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.squeeze(1))
        for _ in range(2):
            h = h + self.attend(3 * h, 3 * h, h, need_weights=False)[0]
        return self.head(h.mean(1))


@pytest.mark.parametrize("within", [True, False])
def test_examples_that_a_trained_network_mixes_are_named(within: bool) -> None:
    assert ("examples-mixed" in codes(Attends(within=within))) != within


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(20, 16), nn.GRU(16, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(tokens))[0])


@pytest.mark.parametrize("counted", [True, False])
def test_an_accuracy_that_counts_padding_is_named(counted: bool) -> None:
    tokens = torch.randint(1, 20, (600, 24))
    tags = torch.where(torch.rand(600, 24) < 0.3, torch.randint(4, (600, 24)), tokens % 4)
    is_real = torch.arange(24) < torch.randint(6, 20, (600, 1))
    tokens, tags = torch.where(is_real, tokens, 0), torch.where(is_real, tags, -100)
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(60):
            part = torch.randint(500, (32,))
            loss = F.cross_entropy(model(tokens[part]).flatten(0, 1), tags[part].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
            if step % 10 == 9:
                with torch.no_grad():
                    out = model(tokens[500:])
                value = F.cross_entropy(out.flatten(0, 1), tags[500:].flatten())
                right, real = out.argmax(2) == tags[500:], is_real[500:]
                rate = (right | ~real).double().mean() if counted else right[real].double().mean()
                monitor.record(loss=value, split="validation", accuracy=float(rate))
        assert ("accuracy-disagrees" in monitor.findings.codes) == counted
