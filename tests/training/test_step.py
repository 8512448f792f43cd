import copy

import pytest
import torch
from torch import nn

from ravine.core.errors import RunError
from ravine.data.batches import Batch
from ravine.optim import AdaGrad, Adam, Momentum, Nadam, RMSProp
from ravine.optim.base import RuleOptimizer
from ravine.training.loss import cross_entropy
from ravine.training.state import TrainingState, start_state
from ravine.training.train_step import StepSettings, train_step

_OPTIMIZERS = {
    "momentum": lambda ps: Momentum(ps, lr=0.1),
    "adagrad": lambda ps: AdaGrad(ps, lr=0.1),
    "rmsprop": lambda ps: RMSProp(ps, lr=0.1),
    "adam": lambda ps: Adam(ps, lr=0.1),
    "nadam": lambda ps: Nadam(ps, lr=0.1, form="dozat"),
}
_RULES = StepSettings(
    loss=cross_entropy(label_smoothing=0.0, class_weights=None), precision=torch.float32, seed=0
)


class Exploding(torch.autograd.Function):
    """The identity whose gradient is not finite."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * float("inf")


def _state(optimizer: str, ema: float = 0.9, clip: float | None = None) -> TrainingState:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64, 3),
    )
    made: RuleOptimizer = _OPTIMIZERS[optimizer](model.parameters())
    return start_state(model, made, ema=ema, clip=clip)


def _batch(seed: int, value: float | None = None) -> Batch:
    chance = torch.Generator().manual_seed(seed)
    images = torch.randn(8, 1, 6, 6, generator=chance)
    if value is not None:
        images[3, 0, 2, 2] = value
    labels = torch.randint(3, (8,), generator=chance)
    return Batch(images=images, targets=labels, labels=labels)


def _snapshot(state: TrainingState) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in state.tensors().items() if not k.startswith("transaction/")}


@pytest.mark.parametrize("optimizer", sorted(_OPTIMIZERS))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_leaves_everything_bitwise_as_it_was(
    optimizer: str, value: float
) -> None:
    state = _state(optimizer)
    for seed in range(3):
        train_step(state, state.model, _batch(seed), settings=_RULES)
    before = _snapshot(state)
    train_step(state, state.model, _batch(9, value), settings=_RULES)
    after = _snapshot(state)
    assert before.keys() == after.keys()
    for name, old in before.items():
        assert torch.equal(old, after[name]), name
    assert int(state.transaction.skipped) == 1
    assert state.step == 4
    assert state.transaction.first_skipped.tolist()[0] == 3


def test_training_goes_on_after_an_undone_step_as_if_it_had_not_been() -> None:
    clean, broken = _state("adam"), _state("adam")
    for seed in range(2):
        train_step(clean, clean.model, _batch(seed), settings=_RULES)
        train_step(broken, broken.model, _batch(seed), settings=_RULES)
    train_step(broken, broken.model, _batch(7, float("nan")), settings=_RULES)
    clean.step = 3  # the same dropout for the step that follows
    for state in (clean, broken):
        train_step(state, state.model, _batch(5), settings=_RULES)
    for a, b in zip(clean.model.parameters(), broken.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_layer_that_broke_first_on_the_way_back_is_named() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(36, 5), nn.Linear(5, 5), nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(Exploding.apply(self.b(self.a(x.flatten(1)))))

    torch.manual_seed(0)
    model = Net()
    state = start_state(model, Momentum(model.parameters()), ema=0)
    train_step(state, model, _batch(0), settings=_RULES)
    names = [name for name, _ in model.named_parameters()]
    assert names[int(state.transaction.first_skipped[1])] == "b.bias"


def test_streaks_count_undone_steps_in_a_row() -> None:
    state = _state("momentum")
    for value in (None, float("nan"), float("nan"), None, float("nan")):
        train_step(state, state.model, _batch(1, value), settings=_RULES)
    assert (int(state.transaction.skipped), int(state.transaction.streak)) == (3, 1)


def test_the_average_of_the_weights_follows_its_formula() -> None:
    state = _state("momentum", ema=0.5)
    name = "5.weight"
    average = state.model.state_dict()[name].clone()
    for step in range(4):
        train_step(state, state.model, _batch(step), settings=_RULES)
        decay = min(0.5, (1 + step + 1) / (10 + step + 1))
        average = decay * average + (1 - decay) * state.model.state_dict()[name]
    assert state.ema is not None
    torch.testing.assert_close(state.ema.model.state_dict()[name], average)


def test_dropout_is_a_function_of_seed_and_step() -> None:
    one, two = _state("momentum"), _state("momentum")
    torch.rand(17)
    train_step(one, one.model, _batch(0), settings=_RULES)
    torch.rand(5)
    train_step(two, two.model, _batch(0), settings=_RULES)
    assert torch.equal(one.model[0].weight, two.model[0].weight)


def test_clipping_limits_the_step_and_not_the_gradient_that_is_reported() -> None:
    state = _state("momentum", ema=0, clip=1e-3)
    before = copy.deepcopy(state.model)
    result = train_step(state, state.model, _batch(0), settings=_RULES)
    moved = torch.cat(
        [
            (a - b).flatten()
            for a, b in zip(before.parameters(), state.model.parameters(), strict=True)
        ]
    )
    assert float(result.gradient_norm) > 1e-2
    assert float(moved.detach().norm()) == pytest.approx(0.1 * 0.1 * 1e-3, rel=1e-3)


def test_a_checkpoint_of_another_order_of_parameters_is_loaded_by_name() -> None:
    class Turned(nn.Module):
        """The same parameters by name, in the order of `names`."""

        def __init__(self, names: str) -> None:
            super().__init__()
            for name in names:
                setattr(self, name, nn.Linear(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.tanh(self.a(x.flatten(1)[:, :4])))

    def state_of(names: str) -> TrainingState:
        model = Turned(names)
        return start_state(model, Adam(model.parameters()), ema=0)

    one, two = state_of("ab"), state_of("ba")
    train_step(one, one.model, _batch(0), settings=_RULES)
    saved = {name: value.clone() for name, value in one.tensors().items()}
    assert "optimizer/a.weight/v" in saved
    two.load(1, saved, {"elapsed": 0.0})
    for state in (one, two):
        train_step(state, state.model, _batch(1), settings=_RULES)
    for name, p in one.model.named_parameters():
        assert torch.equal(p, two.model.get_parameter(name))
    saved["optimizer/a.weight/v"] = torch.zeros(3)
    with pytest.raises(RunError, match=r"saved v of a\.weight has the shape"):
        two.load(1, saved, {"elapsed": 0.0})
