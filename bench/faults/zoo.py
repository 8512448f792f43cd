"""The runs of the zoo: healthy ones, and the same with one fault put in.

A run is a `Plan`. A fault is a function that changes a plan; it is put into two of them, on which
checks and thresholds are set, and into the second on other data, which is reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training: what is trained on what, how, and what is wrong with it."""

    net: str = "mlp"
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = "fashion"
    optimizer: str = "sgd"
    lr: float = 0.1
    batch: int = 64
    steps: int = 200
    images: int = 8000
    decay: float = 0.0
    loss: Loss = F.cross_entropy
    change_model: Callable[[nn.Module], nn.Module] = lambda model: model
    change_images: Callable[[Tensor, torch.Generator], Tensor] = lambda x, _: x
    change_labels: Callable[[Tensor, torch.Generator], Tensor] = lambda y, _: y
    keep: Callable[[Tensor, torch.Generator], Tensor] = lambda y, _: torch.arange(len(y))
    order: Callable[[Tensor, torch.Generator], Tensor] = lambda y, g: torch.randperm(
        len(y), generator=g
    )
    learning: Callable[[nn.Module], list[nn.Parameter]] = lambda model: list(model.parameters())
    rate: Callable[[float], float] = lambda _: 1.0
    clears: bool = True
    steps_optimizer: bool = True
    trains: bool = True


OPTIMIZERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd),
    "momentum": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=wd),
    "nesterov": lambda p, lr, wd: ravine.optim.Momentum(
        p, lr=lr, momentum=0.9, nesterov=True, weight_decay=wd
    ),
    "adam": lambda p, lr, wd: torch.optim.Adam(p, lr=lr, weight_decay=wd),
    "adamw": lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd or 0.01),
    "nadam": lambda p, lr, wd: ravine.optim.Nadam(p, lr=lr, weight_decay=wd),
    "rmsprop": lambda p, lr, wd: ravine.optim.RMSProp(p, lr=lr, weight_decay=wd),
    "adagrad": lambda p, lr, wd: ravine.optim.AdaGrad(p, lr=lr, weight_decay=wd),
}

P = Plan
_MLP = P(options={"depth": 3})
_MLP_CIFAR = P(data="cifar", options={"depth": 3}, optimizer="adam", lr=1e-3)
_PLAIN = P(net="plain", optimizer="momentum", lr=0.03)
_PLAIN_CIFAR = P(net="plain", data="cifar", optimizer="adam", lr=3e-3)
_RESIDUAL = P(net="residual", optimizer="momentum", lr=0.1)
_RESIDUAL_CIFAR = P(net="residual", data="cifar", optimizer="adam", lr=3e-3)

HEALTHY: list[Plan] = [
    _MLP,
    _MLP_CIFAR,
    P(options={"norm": True}, optimizer="rmsprop", lr=1e-3),
    P(options={"act": nn.Tanh}, data="cifar", optimizer="nadam", lr=1e-3),
    _PLAIN,
    P(net="plain", data="cifar", options={"norm": True}, optimizer="adam", lr=3e-3),
    P(net="alexnet", optimizer="adagrad", lr=0.01),
    P(net="alexnet", data="cifar", optimizer="nadam", lr=1e-3),
    _RESIDUAL,
    _RESIDUAL_CIFAR,
    P(net="wide", optimizer="rmsprop", lr=1e-3),
    P(net="wide", data="cifar", optimizer="nesterov", lr=1.0),
    P(net="transformer", optimizer="adam", lr=3e-3),
    P(net="transformer", data="cifar", optimizer="adamw", lr=3e-3),
    P(net="wide", optimizer="adagrad", lr=0.02),
    P(net="plain", options={"act": nn.GELU}, optimizer="nadam", lr=2e-3),
    P(net="residual", data="cifar", options={"norm": "group"}, optimizer="momentum", lr=0.05),
    P(options={"dropout": 0.3}, optimizer="adam", lr=1e-3),
]


def on_other_data(plan: Plan) -> Plan:
    """Returns the plan on CIFAR-10 in place of Fashion-MNIST, and the other way round."""
    return replace(plan, data="fashion" if plan.data == "cifar" else "cifar")


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def _hidden(model: nn.Module) -> nn.Module:
    """Returns the second layer with weights."""
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][1]


def _behind(*layers: nn.Module) -> Callable[[nn.Module], nn.Module]:
    return lambda model: nn.Sequential(model, *layers)


def _cut(model: nn.Module) -> nn.Module:
    assert isinstance(model, nn.Sequential)
    place = len(model) // 2
    return nn.Sequential(*model[:place], Cut(), *model[place:])


def _scaled(factor: float, *, last: bool = True) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
        with torch.no_grad():
            for layer in layers if last else layers[:-1]:
                layer.weight *= factor
        return model

    return change


def _dead(share: float) -> Callable[[nn.Module], nn.Module]:
    def change(model: nn.Module) -> nn.Module:
        bias = _hidden(model).bias
        assert isinstance(bias, Tensor)
        with torch.no_grad():
            bias[: int(share * len(bias))] = -10.0
        return model

    return change


def _constant(model: nn.Module) -> nn.Module:
    nn.init.constant_(_hidden(model).weight, 0.02)  # type: ignore[arg-type]
    return model


def _slow_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1e-4
    return model


def _without_hidden(model: nn.Module) -> list[nn.Parameter]:
    left_out = {id(p) for p in _hidden(model).parameters()}
    return [p for p in model.parameters() if id(p) not in left_out]


def _others(model: nn.Module) -> list[nn.Parameter]:
    return [nn.Parameter(p.detach().clone()) for p in model.parameters()]


def _shuffled(y: Tensor, g: torch.Generator) -> Tensor:
    return y[torch.randperm(len(y), generator=g)]


def _noisy(y: Tensor, g: torch.Generator) -> Tensor:
    other = torch.randint(0, 10, y.shape, generator=g)
    return torch.where(torch.rand(y.shape, generator=g) < 0.45, other, y)


def _rare(y: Tensor, g: torch.Generator) -> Tensor:
    share = torch.where(y < 3, 1.0, 0.02)
    return (torch.rand(y.shape, generator=g) < share).nonzero()[:, 0]


def _with_holes(x: Tensor, g: torch.Generator) -> Tensor:
    return torch.where(torch.rand(x.shape, generator=g) < 1e-4, torch.nan, x)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong, what it must be called, and the two plans that it is put into."""

    name: str
    codes: tuple[str, ...]
    plans: tuple[Plan, Plan]
    change: Callable[[Plan], Plan]


def _fault(name: str, codes: str, first: Plan, second: Plan, **changes: Any) -> Fault:
    return Fault(
        name=name,
        codes=tuple(codes.split()),
        plans=(first, second),
        change=lambda plan: replace(plan, **changes),
    )


def _rates(name: str, codes: str, first: Plan, second: Plan, factor: float) -> Fault:
    return Fault(
        name=name,
        codes=tuple(codes.split()),
        plans=(first, second),
        change=lambda plan: replace(plan, lr=plan.lr * factor),
    )


_DEEP = P(options={"depth": 8, "act": nn.Sigmoid, "wide": 64}, optimizer="sgd", lr=0.1)
_TANH = P(options={"act": nn.Tanh, "depth": 3}, optimizer="sgd", lr=0.1)
_DROPS = P(options={"dropout": 0.3}, optimizer="adam", lr=1e-3)
_FEW = {"images": 192, "steps": 600}

FAULTS: list[Fault] = [
    _fault("zero_grad forgotten", "gradients-not-cleared", _MLP, _PLAIN_CIFAR, clears=False),
    _fault("softmax before cross-entropy", "softmax-twice", _MLP, _RESIDUAL_CIFAR,
           change_model=_behind(nn.Softmax(1))),
    _fault("a layer not in the optimizer", "not-in-optimizer", _PLAIN, _MLP_CIFAR,
           learning=_without_hidden),
    _fault("the optimizer of another model", "not-in-optimizer step-does-not-update", _MLP,
           _RESIDUAL, learning=_others),
    _fault("the graph is cut (detach)", "no-gradient", _MLP, _PLAIN_CIFAR, change_model=_cut),
    _fault("optimizer.step() missing", "step-does-not-update", _MLP, _PLAIN_CIFAR,
           steps_optimizer=False),
    _fault("left in eval()", "eval-mode", _DROPS, _RESIDUAL_CIFAR, trains=False),
    _fault("labels shuffled", "labels-unrelated", _PLAIN, _MLP_CIFAR, change_labels=_shuffled),
    _fault("45 % of labels random", "label-noise", _MLP, _PLAIN, change_labels=_noisy),
    _fault("labels counted from 1", "labels-out-of-range", _MLP, _RESIDUAL_CIFAR,
           change_labels=lambda y, _: y + 1),
    _fault("classes 50 : 1", "imbalance", _MLP, _PLAIN_CIFAR, keep=_rare),
    _fault("sorted by class", "not-shuffled", _MLP, _PLAIN_CIFAR,
           order=lambda y, _: y.argsort(stable=True)),
    _fault("pixels 0 to 255", "inputs-not-scaled", _MLP, _PLAIN_CIFAR,
           change_images=lambda x, _: x * 80 + 100),
    _fault("NaN in the images", "inputs-not-finite", _MLP, _RESIDUAL_CIFAR,
           change_images=_with_holes),
    _fault("one image again and again", "inputs-alike", _PLAIN, _MLP_CIFAR,
           change_images=lambda x, _: x[:1].expand_as(x)),
    _fault("the loss with the wrong sign", "loss-of-wrong-sign", _MLP, _RESIDUAL_CIFAR,
           loss=lambda out, y: -F.cross_entropy(out, y)),
    _fault("nll_loss of logits", "loss-expects-log-probabilities", _MLP, _PLAIN_CIFAR,
           loss=F.nll_loss),
    _fault("ReLU on the logits", "activation-on-logits", _MLP, _PLAIN_CIFAR,
           change_model=_behind(nn.ReLU())),
    _fault("initial weights × 10", "exploding-at-start", _MLP, _PLAIN_CIFAR,
           change_model=_scaled(10.0)),
    _fault("initial weights × 0.1", "vanishing-at-start",
           replace(_MLP, options={"depth": 6}), replace(_PLAIN_CIFAR, options={"depth": 6}),
           change_model=_scaled(0.1)),
    _fault("eight sigmoid layers", "vanishing-at-start", _DEEP,
           replace(_DEEP, data="cifar", options={**_DEEP.options, "depth": 10, "wide": 96})),
    _fault("tanh saturated", "saturated-units", _TANH,
           replace(_TANH, data="cifar", options={**_TANH.options, "depth": 4}),
           change_model=_scaled(20.0, last=False)),
    _fault("a layer dead", "dead-units", _MLP, _PLAIN_CIFAR, change_model=_dead(1.0)),
    _fault("70 % of a layer dead", "dead-units", _MLP, _PLAIN_CIFAR, change_model=_dead(0.7)),
    _fault("a layer of equal weights", "symmetric-weights", _MLP, _PLAIN_CIFAR,
           change_model=_constant),
    _rates("rate × 100", "rate-too-high", _MLP, _RESIDUAL_CIFAR, 100.0),
    _rates("rate × 1/1000", "rate-too-low", _MLP, _RESIDUAL_CIFAR, 1e-3),
    _fault("rate × 100 from the middle on", "diverged not-finite rate-too-high", _MLP,
           _PLAIN_CIFAR, rate=lambda progress: 1.0 if progress < 0.5 else 100.0),
    _fault("rate 0 after a tenth", "rate-too-low", _MLP, _RESIDUAL_CIFAR,
           rate=lambda progress: 1.0 if progress < 0.1 else 1e-4),
    _fault("weight decay 1", "decay-too-strong", replace(_MLP, optimizer="momentum", lr=0.03),
           _PLAIN_CIFAR, decay=1.0),
    _fault("dropout 0.95", "dropout-too-strong", replace(_DROPS, options={"dropout": 0.95}),
           P(net="alexnet", data="cifar", options={"dropout": 0.95}, optimizer="adam", lr=1e-3)),
    _fault("a network of one unit", "cannot-overfit underfitting",
           replace(_MLP, options={"wide": 1, "depth": 2, "act": nn.Tanh}),
           replace(_PLAIN_CIFAR, options={"wide": 1, "act": nn.Tanh})),
    _fault("192 images", "overfitting", replace(_DROPS, options={"depth": 3}, **_FEW),
           replace(_MLP_CIFAR, **_FEW)),
    _fault("statistics that do not follow", "norm-statistics-disagree", _RESIDUAL,
           _RESIDUAL_CIFAR, change_model=_slow_statistics),
]  # fmt: skip
