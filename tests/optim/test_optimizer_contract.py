import copy

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.optim import OPTIMIZERS, AdaGrad, decide, parameter_groups
from ravine.optim.settings import OptimizerSettings

CLASSES = list(dict.fromkeys(row.kind for row in OPTIMIZERS.values()))
every = pytest.mark.parametrize("make", CLASSES)
dense_only = pytest.mark.parametrize("make", [one for one in CLASSES if not one.accepts_sparse])
with_squares = pytest.mark.parametrize("make", [one for one in CLASSES if "G" in one.state_slots])


def _pair() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((2, 2), 2.0))]


@every
def test_a_parameter_without_gradient_is_left_alone(make) -> None:  # type: ignore[no-untyped-def]
    one, two = _pair()
    one.grad = torch.ones(3)
    make([one, two]).step()
    assert torch.equal(two, torch.full((2, 2), 2.0))
    assert not torch.equal(one, torch.ones(3))


@every
@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), (3, 0, 2), (2, 3, 0, 0)])
def test_a_parameter_without_elements_takes_its_step(make, shape) -> None:  # type: ignore[no-untyped-def]
    empty, other = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.ones(3))
    empty.grad, other.grad = torch.ones(shape), torch.ones(3)
    make([empty, other]).step()
    assert empty.shape == shape
    assert not torch.equal(other, torch.ones(3))


@every
def test_groups_have_learning_rates_of_their_own_and_torch_schedulers_work(make) -> None:  # type: ignore[no-untyped-def]
    one, two = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = make([{"params": [one], "lr": 0.1}, {"params": [two], "lr": 0.2}])
    for scheduler in (
        torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10),
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 / (k + 1)),
    ):
        one.grad, two.grad = torch.ones(2), torch.ones(2)
        optimizer.step()
        scheduler.step()
    assert torch.allclose(two, 2 * one, rtol=1e-4)


@every
def test_state_survives_a_round_trip(make) -> None:  # type: ignore[no-untyped-def]
    def run(optimizer: torch.optim.Optimizer, w: nn.Parameter, steps: int) -> None:
        for step in range(steps):
            w.grad = torch.sin(w.detach() + step)
            optimizer.step()

    w = nn.Parameter(torch.arange(4.0))
    optimizer = make([w])
    run(optimizer, w, 5)
    twin = nn.Parameter(w.detach().clone())
    other = make([twin])
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(other, twin, 3)  # first, so that a tensor shared by the two would show
    run(optimizer, w, 3)
    assert torch.equal(w, twin)
    assert optimizer.state[w].keys() == other.state[twin].keys()
    for name, value in optimizer.state[w].items():
        assert value.dtype == other.state[twin][name].dtype
        assert torch.equal(value, other.state[twin][name]), name


@every
def test_state_of_another_shape_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    w, other = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(5))
    w.grad = torch.ones(4)
    optimizer = make([w])
    optimizer.step()
    with pytest.raises(SettingError, match="another network"):
        make([other]).load_state_dict(optimizer.state_dict())
    for state in ({}, {"state": {}, "param_groups": "x"}, {"param_groups": []}):
        with pytest.raises(SettingError, match="no `state` and `param_groups`"):
            optimizer.load_state_dict(state)


@every
def test_a_closure_is_evaluated_with_gradients(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(1))
    optimizer = make([w])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 1.0
    assert float(w.detach()) < 1.0


@every
def test_gradients_are_left_as_they_were_unless_cleared(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(2))
    w.grad = torch.tensor([3.0, 4.0])
    optimizer = make([w])
    optimizer.step(scale=torch.tensor(0.1))
    assert torch.equal(w.grad, torch.tensor([3.0, 4.0]))
    optimizer.step(clear=True)
    assert w.grad is None


@every
@pytest.mark.parametrize("masked", [False, True], ids=["read", "masked"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_refused_step_leaves_weights_and_state_bitwise(  # type: ignore[no-untyped-def]
    make, masked: bool, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if masked:  # as on a device that the host does not wait for
        monkeypatch.setattr("ravine.optim.base._is_read_at_once", lambda _: False)
    pair = _pair()
    optimizer = make(pair, weight_decay=0.1)

    def step(gradient: float) -> None:
        for w in pair:
            w.grad = torch.full_like(w, 0.5)
        pair[1].grad[0, 1] = gradient  # type: ignore[index]
        decision = decide(pair, torch.tensor(1.0), clip=1.0)
        optimizer.step(ok=decision.ok, scale=decision.scale)

    for _ in range(3):
        step(-0.25)
    before = copy.deepcopy((pair, [optimizer.state[w] for w in pair]))
    step(value)
    for w, state, old, old_state in zip(
        pair, [optimizer.state[w] for w in pair], *before, strict=True
    ):
        assert torch.equal(w, old)
        assert all(torch.equal(state[name], old_state[name]) for name in old_state)
    step(-0.25)
    assert all(not torch.equal(w, old) for w, old in zip(pair, before[0], strict=True))
    assert int(optimizer.state[pair[0]]["step"]) == 4


@every
def test_masked_and_read_steps_agree(make, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    ends = []
    for masked in (False, True):
        if masked:
            monkeypatch.setattr("ravine.optim.base._is_read_at_once", lambda _: False)
        w = nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
        optimizer = make([w])
        for k in range(50):
            w.grad = torch.cos(5 * w.detach() + k)
            optimizer.step(ok=torch.tensor(k % 5 != 0))
        ends.append(w.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-13, atol=1e-14)


@every
@pytest.mark.parametrize("clip_by", ["norm", "value", "agc"])
def test_the_host_reads_nothing_of_another_device(make, clip_by: str) -> None:  # type: ignore[no-untyped-def]
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to("meta")
    for p in model.parameters():
        p.grad = torch.empty_like(p)
    parameters = list(model.parameters())
    optimizer = make(parameters)
    for _ in range(2):  # a tensor on the device meta has no values: a read raises
        decision = decide(parameters, torch.empty((), device="meta"), clip=1.0, clip_by=clip_by)  # type: ignore[arg-type]
        optimizer.step(ok=decision.ok, scale=decision.scale, gradients=decision.gradients)


def test_adagrad_stays_finite_however_often_gradients_are_huge() -> None:
    w = nn.Parameter(torch.ones(1))
    optimizer = AdaGrad([w], lr=1e-3)
    for _ in range(1100):  # 1024 squares at the limit fill float32
        w.grad = torch.full((1,), 3e38)
        optimizer.step()
    assert optimizer.state[w]["G"].isfinite()


@with_squares
def test_an_eps_that_is_zero_in_the_weights_type_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match="eps"):
        make([nn.Parameter(torch.ones(1))], eps=0.0)
    w = nn.Parameter(torch.ones(1, dtype=torch.float16))
    w.grad = torch.zeros(1, dtype=torch.float16)
    with pytest.raises(SettingError, match="eps 1e-08 is 0"):
        make([w]).step()


@every
def test_a_wrong_hyperparameter_of_one_group_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    one, two = _pair()
    with pytest.raises(SettingError, match="lr"):
        make([{"params": [one]}, {"params": [two], "lr": -0.1}])


@every
def test_a_copy_shows_the_same_text(make) -> None:  # type: ignore[no-untyped-def]
    optimizer = make(_pair())
    assert repr(copy.deepcopy(optimizer)) == repr(optimizer)
    assert "←" in repr(optimizer)


@every
def test_huge_finite_gradients_do_not_poison_the_state(make) -> None:  # type: ignore[no-untyped-def]
    w = nn.Parameter(torch.ones(2))
    optimizer = make([w], lr=1e-30)
    for _ in range(5):
        w.grad = torch.full((2,), 3e38)
        optimizer.step()
    state = [value for value in optimizer.state[w].values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in state)
    assert w.isfinite().all()


@dense_only
def test_sparse_gradients_are_refused_in_one_line(make) -> None:  # type: ignore[no-untyped-def]
    layer = nn.Embedding(4, 2, sparse=True)
    layer(torch.tensor([1])).sum().backward()
    with pytest.raises(SettingError, match="dense gradients only"):
        make(layer.parameters()).step()


def test_biases_and_norms_have_no_decay() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    decayed, spared = parameter_groups(model, weight_decay=0.1)
    assert decayed["weight_decay"] == 0.1
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert spared["weight_decay"] == 0.0
    assert len(spared["params"]) == 4


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_named_optimizer_is_built_from_settings_and_takes_a_step(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    optimizer = OptimizerSettings(optimizer=name).build_optimizer(model)
    before = copy.deepcopy(list(model.parameters()))
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert not any(map(torch.equal, before, model.parameters()))
    assert optimizer.param_groups[0]["lr"] == OptimizerSettings(optimizer=name).default_lr()


@every
@pytest.mark.parametrize(
    "wrong", [{"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1.0}, {"decay": "both"}]
)
def test_a_wrong_hyperparameter_is_refused(make, wrong: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError):
        make([nn.Parameter(torch.ones(1))], **wrong)
