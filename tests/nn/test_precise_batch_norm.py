"""Measured statistics against a float64 loop over the batches (Wu, Johnson 2021, section 3)."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ravine.models import build
from ravine.nn.precise_batch_norm import measure_norm_statistics_, preserve_statistics


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 5, 3),
        nn.BatchNorm2d(5, momentum=0.4),
        nn.Flatten(),
        nn.LazyLinear(2),
    )


def batches() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, 3, 8, 8, generator=generator) * n + 5 for n in (7, 4, 2)]


def by_the_formula(inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns μ and the unbiased σ² of inputs (B, C, H, W) of a norm, batch by batch."""
    count = sum(x.numel() // x.shape[1] for x in inputs)
    mean = sum(x.double().sum((0, 2, 3)) for x in inputs) / count
    second = torch.zeros_like(mean)
    for x in inputs:  # E[σ²_B + μ_B²], weighted by the values of the batch
        values = x.double().transpose(0, 1).flatten(1)
        share = values.shape[1] / count
        second += share * (values.var(1, correction=0) + values.mean(1) ** 2)
    return mean, (second - mean**2) * count / (count - 1)


def test_they_are_those_of_a_float64_loop_over_the_batches() -> None:
    model = network()
    model(batches()[0])
    model.train()
    first, second = [], []
    reference = copy.deepcopy(model).double().train()
    reference[3].p = 0.0
    for batch in batches():
        first.append(reference[0](batch.double()))
        second.append(reference[:5](batch.double()))
    measure_norm_statistics_(model, batches(), call=model)
    for place, seen in ((1, first), (5, second)):
        mean, variance = by_the_formula([x.detach() for x in seen])
        torch.testing.assert_close(model[place].running_mean.double(), mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(model[place].running_var.double(), variance, rtol=1e-5, atol=0.0)


def test_nothing_but_the_statistics_changes() -> None:
    model = network()
    for batch in batches():
        model(batch)
    model[0].eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    drawn = torch.get_rng_state()
    measure_norm_statistics_(model, batches(), call=model)
    after = model.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {f"{k}.running_{what}" for k in (1, 5) for what in ("mean", "var")}
    assert [m.training for m in model.modules()] == modes
    assert [model[1].momentum, model[5].momentum] == [0.1, 0.4]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(p.grad is None for p in model.parameters())


def test_what_diverged_leaves_no_trace_and_an_unused_norm_keeps_its_own() -> None:
    model, unused = network(), nn.BatchNorm2d(3)
    model(batches()[0])
    model.add_module("unused", unused)
    unused.running_mean.fill_(7.0)
    model[1].running_var.fill_(float("inf"))
    model[1].running_mean.fill_(float("nan"))
    measure_norm_statistics_(model, batches(), call=model[:8])
    assert model[1].running_var.isfinite().all()
    assert model[1].running_mean.isfinite().all()
    assert torch.equal(unused.running_mean, torch.full((3,), 7.0))


def test_an_evaluation_within_leaves_the_running_statistics_bitwise() -> None:
    model = network()
    model(batches()[0])
    before = copy.deepcopy(model.state_dict())
    with preserve_statistics(model):
        measure_norm_statistics_(model, batches(), call=model)
        assert not torch.equal(model[1].running_mean, before["1.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-cifar-8", "swift-1"])
def test_evaluation_mode_then_answers_as_training_mode_does_on_the_whole(
    name: str, precision: torch.dtype
) -> None:
    """On one batch, measured and applied statistics are the same numbers, fused layers or not."""
    torch.manual_seed(0)
    model = build(name, classes=3, image_size=32).to(memory_format=torch.channels_last)
    images = torch.randn(24, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", precision, enabled=precision is not torch.float32), torch.no_grad():
        measure_norm_statistics_(model, [images], call=model)
        applied, learnt = model.eval()(images), model.train()(images)
    # Unbiased against biased variance: 1/(2·24·16) at the smallest maps.
    tolerance = 0.1 if precision is torch.bfloat16 else 0.02
    assert float((applied - learnt).norm() / learnt.norm()) < tolerance
