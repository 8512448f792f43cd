"""What a step does, what a loss does with made-up outputs, what evaluation mode does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def batches(count: int = 8, size: int = 64) -> list[Batch]:
    centres = torch.randn(5, 20)
    labels = torch.randint(0, 5, (count, size))
    return [(centres[y] + 0.5 * torch.randn(size, 20), y) for y in labels]


def network(*last: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5), *last)


def stepped(
    change: Callable[[nn.Module, torch.optim.Optimizer, Batch], None],
    model: nn.Module | None = None,
    lr: float = 0.1,
    **options: Any,
) -> Findings:
    """Checks a loop whose step is `change`."""
    model = network() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, **options)
    return ravine.check(
        model, F.cross_entropy, batches(), optimizer,
        step=lambda batch: change(model, optimizer, batch), learn=False,
    )  # fmt: skip


def backward(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(batch[0]), batch[1])
    loss.backward()
    return loss


def test_a_plain_step_is_no_finding() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.step()

    assert stepped(step).codes == ()


def test_an_optimizer_made_in_the_step_is_named() -> None:
    def step(model: nn.Module, _: torch.optim.Optimizer, batch: Batch) -> None:
        own = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        backward(model, own, batch)
        own.step()

    assert stepped(step).codes == ("optimizer-remade",)


def test_one_without_state_is_only_noted() -> None:
    def step(model: nn.Module, _: torch.optim.Optimizer, batch: Batch) -> None:
        own = torch.optim.SGD(model.parameters(), lr=0.1)
        backward(model, own, batch)
        own.step()

    (found,) = stepped(step)
    assert (found.severity, found.code) == ("note", "optimizer-remade")


@pytest.mark.parametrize(("scale", "limit"), [(1.0, 1e-4), (65536.0, 1.0)])
def test_gradients_that_are_clipped_away_are_named(scale: float, limit: float) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        optimizer.zero_grad()
        (scale * F.cross_entropy(model(batch[0]), batch[1])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        for p in model.parameters():
            assert p.grad is not None
            p.grad /= scale
        optimizer.step()

    (found,) = stepped(step)
    assert found.code == "updates-too-small"
    assert ("unscaled" in found.cause) == (scale > 1)


def test_a_usual_limit_is_no_finding() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    assert stepped(step).codes == ()


def test_a_step_uphill_is_named() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.step()

    assert stepped(step, maximize=True).codes == ("step-climbs",)


@pytest.mark.parametrize(("factor", "codes"), [(1e-4, ()), (1.0, ("decay-too-strong",))])
def test_an_l2_term_in_the_step_is_found_by_its_size(factor: float, codes: tuple[str, ...]) -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        optimizer.zero_grad()
        term = factor * sum(p.square().sum() for p in model.parameters())
        (F.cross_entropy(model(batch[0]), batch[1]) + term).backward()
        optimizer.step()

    assert stepped(step).codes == codes


def test_targets_of_another_batch_are_named() -> None:
    held = [torch.randint(0, 5, (64,))]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, (batch[0], held[0]))
        optimizer.step()

    assert stepped(step).codes == ("step-trains-something-else",)


def test_gradients_cleared_before_the_step_are_named() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.zero_grad()
        optimizer.step()

    (found,) = stepped(step)
    assert found.code == "step-does-not-update"
    assert "cleared" in found.cause


def test_a_warm_up_from_exactly_0_is_no_finding() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, k / 100))

    def step(batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.step()
        schedule.step()

    assert ravine.check(model, F.cross_entropy, batches(), optimizer, step, learn=False).codes == ()


def test_a_learning_rate_that_stays_0_is_named() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.step()

    (found,) = stepped(step, lr=0.0)
    assert found.code == "step-does-not-update"
    assert "learning rate" in found.cause


def test_weights_that_are_updated_by_hand_are_only_noted() -> None:
    def step(model: nn.Module, _: torch.optim.Optimizer, batch: Batch) -> None:
        for p in model.parameters():
            p.grad = None
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for p in model.parameters():
                assert p.grad is not None
                p -= 0.1 * p.grad

    (found,) = stepped(step)
    assert (found.severity, found.code) == ("note", "optimizer-unseen")


def test_l_bfgs_is_checked_like_others() -> None:
    model = nn.Linear(20, 5)
    optimizer = torch.optim.LBFGS(model.parameters())

    def step(batch: Batch) -> None:
        optimizer.step(lambda: backward(model, optimizer, batch))  # type: ignore[arg-type]

    assert ravine.check(model, F.cross_entropy, batches(), optimizer, step).codes == ()


def test_frozen_norms_that_follow_the_batches_are_named_and_those_at_rest_are_not() -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
    model[:2].requires_grad_(False)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        backward(model, optimizer, batch)
        optimizer.step()

    assert stepped(step, model).codes == ("frozen-statistics-drift",)
    model[1].eval()
    assert stepped(step, model).codes == ()


class Drops(nn.Module):
    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.inner, self.always = network(), always

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.inner(x), 0.2, training=self.always or self.training)


class OverBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.softmax(0)


class InList(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = [nn.Linear(20, 20)], nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers[0](x).relu())


def plain(model: nn.Module, loss: Any = F.cross_entropy, given: Any = None) -> tuple[str, ...]:
    found = ravine.check(model, loss, given or batches(), learn=False)
    return tuple(one.code for one in found)


def test_evaluation_mode_must_be_quiet_and_take_each_example_for_itself() -> None:
    assert "noisy-evaluation" in plain(Drops(always=True))
    assert "noisy-evaluation" not in plain(Drops(always=False))
    assert plain(network(OverBatch())) == ("examples-mixed",)
    assert plain(network(nn.LogSoftmax(0)), F.nll_loss) == ("examples-mixed",)
    assert plain(nn.Sequential(nn.BatchNorm1d(20), network())) == ()


def test_parameters_must_be_known_to_network_or_optimizer() -> None:
    assert plain(InList()) == ("parameters-not-registered",)
    assert plain(nn.Sequential(*[nn.Linear(20, 20), nn.ReLU()] * 2, nn.Linear(20, 5))) == (
        "shared-parameters",
    )


def test_a_loss_with_weights_of_its_own_is_healthy() -> None:
    model, proxies = nn.Linear(20, 16), nn.Parameter(torch.randn(5, 16))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(8 * F.normalize(out) @ F.normalize(proxies).t(), y)

    optimizer = torch.optim.Adam([*model.parameters(), proxies], lr=1e-2)
    assert ravine.check(model, loss, batches(), optimizer, labels_probe=True).codes == ()


def test_losses_are_tried_on_outputs_that_are_made_up() -> None:
    ignoring = nn.CrossEntropyLoss(ignore_index=0)
    smoothed = nn.CrossEntropyLoss(label_smoothing=0.98)
    assert plain(network(), ignoring) == ("loss-ignores-examples",)
    assert plain(network(), smoothed) == ("targets-uninformative",)
    assert plain(network(), nn.CrossEntropyLoss(label_smoothing=0.1)) == ()
    assert plain(network(nn.Dropout(0.3))) == ("dropout-on-logits",)


def test_targets_of_a_regression_must_meet_their_outputs() -> None:
    model = nn.Linear(20, 1)
    flat = [(x, x.mean(1)) for x, _ in batches()]
    assert plain(model, lambda out, y: (out - y).square().mean(), flat) == ("targets-broadcast",)
    assert plain(model, F.mse_loss, [(x, y[:, None]) for x, y in flat]) == ()
    far = [(x, 1e5 + 1e4 * y[:, None]) for x, y in flat]
    assert plain(model, F.mse_loss, far) == ("targets-not-scaled",)


def test_a_sigmoid_before_a_loss_that_holds_one_is_named() -> None:
    pairs = [(x, F.one_hot(y, 5).float()) for x, y in batches()]
    twice = plain(network(nn.Sigmoid()), F.binary_cross_entropy_with_logits, pairs)
    assert twice == ("sigmoid-twice",)
    assert plain(network(nn.Sigmoid()), F.binary_cross_entropy, pairs) == ()
    assert plain(network(nn.Sigmoid()), F.mse_loss, pairs) == ()


def test_a_term_of_the_loss_past_the_outputs_is_judged_by_its_gradient() -> None:
    model = network()

    def loss_with(factor: float) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda out, y: (
            F.cross_entropy(out, y) + factor * sum(p.square().sum() for p in model.parameters())
        )

    assert "decay-too-strong" in plain(model, loss_with(1.0))
    assert "decay-too-strong" not in plain(model, loss_with(1e-4))


def test_scale_is_judged_at_the_first_layer_with_weights() -> None:
    large = [(255 * x + 500, y) for x, y in batches()]
    flat = [(0.003 * x - 0.8, y) for x, y in batches()]
    assert "inputs-not-scaled" in plain(network(), given=large)
    assert "inputs-not-scaled" in plain(network(), given=flat)
    assert plain(nn.Sequential(nn.BatchNorm1d(20), network()), given=large) == ()


def test_scrambled_images_are_told_from_true_ones() -> None:
    image = torch.randn(16, 3, 4, 4)
    smooth = F.interpolate(image, 16, mode="bilinear") + 0.5 * image.mean((1, 2, 3), keepdim=True)
    labels = torch.randint(0, 5, (16,))
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    turned = smooth.permute(0, 2, 3, 1).reshape(smooth.shape)
    assert "inputs-scrambled" in plain(model, given=[(turned, labels)])
    assert "inputs-scrambled" not in plain(model, given=[(smooth, labels)])


def test_one_batch_again_and_again_is_named() -> None:
    assert plain(network(), given=batches(1) * 6) == ("batches-repeat",)


@pytest.mark.parametrize("size", [4, 8])
def test_few_right_labels_are_not_suspected(size: int) -> None:
    centres = torch.randn(10, 20)
    labels = torch.randint(0, 10, (16, size))
    hard = [(centres[y] + 4 * torch.randn(size, 20), y) for y in labels]
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    found = ravine.check(model, F.cross_entropy, hard, labels_probe=True, learn=False)
    assert not [one for one in found if one.severity != "note"]


def test_where_nothing_can_be_learnt_the_labels_are_not_blamed() -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 5))
    with torch.no_grad():
        model[2].weight.zero_()
    model[2].requires_grad_(False)
    model[0].requires_grad_(True)
    shuffled = [(x, y[torch.randperm(64)]) for x, y in batches()]
    found = ravine.check(model, F.cross_entropy, shuffled, labels_probe=True, learn=False)
    assert "labels-unrelated" not in found.codes
    assert "labels-undecided" in found.codes
