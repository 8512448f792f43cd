"""Eight examples and the gradients on the way: what is trained or easy is left in peace."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.checks.check_batch import take_batches
from ravine.checks.context import CheckContext
from ravine.checks.learning import check_overfit, overfit

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Block(nn.Module):
    """A residual block whose branch begins as 0."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.norm(self.convolution(x))
        return y


def patterns() -> list[Batch]:
    """Ten images with little noise: learnt in a few steps."""
    kinds, labels = torch.randn(10, 1, 8, 8), torch.arange(32) % 10
    return [(2 * kinds[labels] + 0.3 * torch.randn(32, 1, 8, 8), labels) for _ in range(4)]


def convolutional(blocks: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), *[Block() for _ in range(blocks)],
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def points() -> list[Batch]:
    centres = torch.randn(5, 20)
    labels = [torch.randint(0, 5, (64,)) for _ in range(8)]
    return [(centres[y] + 0.1 * torch.randn(64, 20), y) for y in labels]


def trained(model: nn.Module, batches: list[Batch], steps: int = 60) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for n in range(steps):
        x, y = batches[n % len(batches)]
        optimizer.zero_grad()
        loss = F.cross_entropy if y.dtype == torch.int64 else F.mse_loss
        loss(model(x), y).backward()
        optimizer.step()
    return model


def test_branches_and_a_head_that_begin_as_zero_get_a_gradient_at_the_third_step() -> None:
    model = convolutional()
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)

    assert ravine.check(model, F.cross_entropy, patterns()).codes == ()


def perceptron(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), *middle, nn.Linear(32, 5))


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_a_trained_network_is_left_in_peace(scale: float) -> None:
    batches = points()
    model = trained(perceptron(), batches)
    with torch.no_grad():  # at 1e3 all examples are right beyond doubt: every gradient is 0
        model[-1].weight *= scale
        model[-1].bias *= scale
    loss = float(F.cross_entropy(model(batches[0][0]), batches[0][1]).detach())

    found = ravine.check(model, F.cross_entropy, batches)

    assert (loss == 0.0) == (scale > 1)
    told = {code for one in found for code in (one.code, *one.symptoms)}
    assert not {"zero-gradient", "cannot-overfit"} & told


def test_a_trained_regression_is_left_in_peace() -> None:
    batches = [(x, x[:, :2].sum(1, keepdim=True)) for x in torch.randn(8, 64, 20).unbind()]
    model = trained(nn.Linear(20, 1), batches, 2000)

    assert float(F.mse_loss(model(batches[0][0]), batches[0][1]).detach()) < 1e-6
    assert ravine.check(model, F.mse_loss, batches).codes == ()


def subject(model: nn.Module, batches: list[Batch]) -> CheckContext:
    samples = take_batches(batches, torch.device("cpu"))
    return CheckContext(
        model=model, loss=F.cross_entropy, samples=samples, optimizer=None, step=None
    )


class Beside(nn.Module):
    """What its inner layers say is added to what came in."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.inner(x)
        return y


@pytest.mark.parametrize("is_trained", [False, True])
def test_layers_that_stay_without_a_gradient_are_found_where_examples_are_easy(
    is_trained: bool,
) -> None:
    branch = Beside(nn.Linear(32, 8, bias=False), nn.Linear(8, 32, bias=False))
    for layer in branch.inner:
        nn.init.zeros_(layer.weight)  # each waits for the other
    model, batches = perceptron(branch), points()
    if is_trained:
        trained(model, batches)

    (one,) = ravine.check(model, F.cross_entropy, batches).of("critical")
    found = overfit(subject(model, batches))
    (told,) = check_overfit(found, model)

    assert (one.code, one.symptoms) == ("zero-gradient", ())
    assert found.learnt
    assert found.unmoved == ("2.inner.0", "2.inner.1")
    assert found.steps >= 3
    assert f"the gradient of 2 layers is 0 and stays 0 over {found.steps} steps" in told.seen


def test_units_that_a_bias_keeps_dead_have_no_gradient_either() -> None:
    dead = Beside(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
    nn.init.constant_(dead.inner[0].bias, -1e3)
    batches = points()
    model = trained(perceptron(dead), batches)

    one = ravine.check(model, F.cross_entropy, batches)[0]

    assert one.code == "dead-units"
    assert "zero-gradient" in one.symptoms


def test_a_layer_behind_a_cut_is_found_by_its_gradient() -> None:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach() * 0.0

    batches = points()
    found = ravine.check(perceptron(Beside(nn.Linear(32, 32), Cut())), F.cross_entropy, batches)

    assert found[0].code == "no-gradient"  # and none is not 0
    assert found[0].layer == "2.inner.0"


def test_soft_targets_are_learnt_as_far_as_they_can_be() -> None:
    batches = [(x, 0.3 * F.one_hot(y, 5).float() + 0.14) for x, y in points()]
    least = float(torch.special.entr(batches[0][1][0]).sum())
    model = perceptron()

    found = ravine.check(model, F.cross_entropy, batches)

    assert least > 0.5 * float(F.cross_entropy(model(batches[0][0]), batches[0][1]).detach())
    assert "cannot-overfit" not in found.codes
    assert "cannot-overfit" in ravine.check(_narrow(), F.cross_entropy, batches).codes


def _narrow() -> nn.Module:
    """A network that says the same of every example."""
    model = perceptron()
    model[0].requires_grad_(False)
    nn.init.zeros_(model[0].weight)
    return model
