"""What a monitor says of copies that are evaluated, of views of validation, and of collapse."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings
from ravine.monitor.evaluation_probe import probe_evaluation


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


PATTERNS = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(1))


def pictures(count: int) -> tuple[Tensor, Tensor]:
    """Returns noisy patterns (N, 3, 12, 12) whose channels differ in brightness, and labels."""
    y = torch.randint(0, 5, (count,))
    bright = torch.tensor([0.5, 0.0, -0.5])[:, None, None]
    return PATTERNS[y] + bright + 0.7 * torch.randn(count, 3, 12, 12), y


def network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2)),
        *(nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)),
    )


def train(
    model: nn.Module,
    after_step: Callable[[], None] = lambda: None,
    evaluated: nn.Module | None = None,
    view: Callable[[Tensor], Tensor] = lambda x: x,
    augmented: Callable[[Tensor], Tensor] = lambda x: x,
) -> Findings:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    held, labels = pictures(128)
    with ravine.Monitor(model, optimizer) as monitor:
        for step in range(120):
            model.train()
            x, y = pictures(32)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(augmented(x)), y)
            loss.backward()
            optimizer.step()
            after_step()
            monitor.record(loss=loss.detach())
            if step % 20 == 19:
                with torch.no_grad():
                    out = (evaluated or model).eval()(view(held))
                accuracy = float((out.argmax(1) == labels).double().mean())
                value = float(F.cross_entropy(out, labels))
                monitor.record(loss=value, split="validation", accuracy=accuracy)
        return monitor.findings


@pytest.mark.parametrize("buffers", [True, False])
def test_an_average_without_its_norm_statistics_is_told_from_one_with_them(buffers: bool) -> None:
    model = network()
    average = copy.deepcopy(model)

    @torch.no_grad()
    def follow() -> None:
        for mean, p in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(p, 0.2)
        if buffers:
            for mean, p in zip(average.buffers(), model.buffers(), strict=True):
                mean.copy_(p)

    found = train(model, follow, average)

    assert found.codes == (() if buffers else ("norm-statistics-disagree",))


@pytest.mark.parametrize("is_other", [False, True])
def test_channels_in_another_order_are_known_by_the_networks_responses(is_other: bool) -> None:
    found = train(network(), view=lambda x: x.flip(1) if is_other else x)

    assert found.codes == (("validation-prepared-differently",) if is_other else ())


class Views(nn.Module):
    def __init__(self, *, stops: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))
        self.guess = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.stops = stops

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        z, w = self.body(a), self.body(b)
        return self.guess(z), self.guess(w), *((z.detach(), w.detach()) if self.stops else (z, w))


@pytest.mark.parametrize("stops", [True, False])
def test_views_that_are_drawn_together_alone_collapse(stops: bool) -> None:
    model = Views(stops=stops)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with ravine.Monitor(model, optimizer) as monitor:
        for _ in range(200):
            x = 2 * torch.randn(64, 20)
            out = model(x + 0.3 * torch.randn(64, 20), x + 0.3 * torch.randn(64, 20))
            loss = -sum(F.cosine_similarity(out[k], out[3 - k]).mean() for k in (0, 1)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss.detach())

    assert ("outputs-collapsed" in monitor.findings.codes) == (not stops)


@pytest.mark.parametrize("writes_back", [True, False])
def test_an_average_that_is_written_back_after_each_step_undoes_it(writes_back: bool) -> None:
    model = network()
    average = copy.deepcopy(model)

    @torch.no_grad()
    def follow() -> None:
        for mean, p in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(p, 0.02)
            if writes_back:
                p.copy_(mean)

    found = train(model, follow)

    assert ("weights-changed-outside" in found.codes) == writes_back


def test_labels_of_validation_that_belong_to_other_images_are_named() -> None:
    found = train(network(), view=lambda x: x.roll(1, 0))

    assert found.codes == ("validation-labels-unrelated",)


def test_blurred_images_of_validation_are_known_by_blurring_those_of_training() -> None:
    found = train(network(), view=lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False))

    assert found.codes == ("validation-prepared-differently",)


@pytest.mark.parametrize("size", [0.3, 100.0])
def test_noise_that_leaves_nothing_of_training_images_is_named(size: float) -> None:
    found = train(network(), augmented=lambda x: x + size * torch.randn_like(x))

    assert found.codes[:1] == (("validation-prepared-differently",) if size > 1 else ())


class Drawn(nn.Module):
    """Returns what it draws around the code of each example, and the code."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.code(x)
        return code + torch.randn_like(code), code


def test_what_is_drawn_around_a_code_is_no_influence_of_other_examples() -> None:
    torch.manual_seed(0)
    found = probe_evaluation(Drawn(), ((torch.randn(32, 6),), {}), None)

    assert found["noise"] < 1e-6
    assert "influence" not in found
