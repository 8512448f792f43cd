"""The candidates of a race: this package's optimizers, and any of torch.optim as `torch:Name`.

A candidate is built once for many starts: each (trial, start) pair is a row of a parameter, each
trial a group of the optimizer. All update rules here, and most of torch's, work element by element,
so that every row moves independently; the few of torch's that do not are built once for each row.
"""

import ast
import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ravine.core.errors import SettingError, unknown
from ravine.optim.base import RuleOptimizer
from ravine.optim.momentum import Momentum
from ravine.optim.optimizers import OPTIMIZERS
from ravine.optim.torch_conversion import from_torch

CANDIDATES: Mapping[str, tuple[type[RuleOptimizer], Mapping[str, Any]]] = {
    "gd": (Momentum, {"momentum": 0.0}),
    **{
        name: (row.kind, row.arguments)
        for name, row in OPTIMIZERS.items()
        if row.kind.by_element  # a function has two numbers, no matrix
    },
}
Trial = Mapping[str, float]  # lr, and momentum and eps where they are searched too
# Of torch.optim, those whose step of one element depends on others.
_NOT_BY_ELEMENT = ("LBFGS", "Adafactor", "Muon")
# One evaluation of the gradient a step, as for all others.
_TORCH_DEFAULTS: Mapping[str, Mapping[str, Any]] = {"LBFGS": {"max_iter": 1}}


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """An optimizer with its settings, and its learning rate if it is known."""

    label: str
    kind: type[Optimizer]
    settings: Mapping[str, Any] = field(default_factory=dict)
    lr: float | None = None

    @property
    def by_element(self) -> bool:
        """Whether rows of one parameter move independently."""
        return self.kind.__name__ not in _NOT_BY_ELEMENT

    def build(self, params: Sequence[Tensor], trials: Sequence[Trial]) -> Optimizer:
        """Returns the optimizer of `params`, each (R, 2), in a group with the trial of its index.

        Raises:
            SettingError: a setting is not known, or out of its range.
        """
        try:
            if self.kind.__name__ == "LBFGS":  # takes no groups
                return self.kind(list(params), **{**trials[0], **self.settings})
            fixed = self.kind([params[0]], **self.settings, **_lr(trials[0]))  # type: ignore[arg-type]
            groups = [
                {"params": [p], **_options(fixed.defaults, trial)}
                for p, trial in zip(params, trials, strict=True)
            ]
            return self.kind(groups, **{**_lr(trials[0]), **self.settings})
        except SettingError as error:
            raise SettingError(f"optimizer {self.label}: {error}") from None
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise SettingError(f"optimizer {self.label} cannot be built: {reason}") from error

    def tunable(self) -> tuple[str, ...]:
        """Returns which of lr, momentum and eps it has and the user did not give."""
        defaults = self.build([nn.Parameter(torch.zeros(2))], [{"lr": 0.1}]).defaults
        has = {
            "lr": self.lr is None,
            "momentum": bool({"momentum", "betas"} & defaults.keys() - self.settings.keys()),
            "eps": "eps" in defaults and "eps" not in self.settings,
        }
        return tuple(name for name, free in has.items() if free)

    def tuned(self, trial: Trial) -> "Candidate":
        """Returns the candidate with the settings of a trial."""
        rest = {name: value for name, value in trial.items() if name != "lr"}
        defaults = self.build([nn.Parameter(torch.zeros(2))], [{"lr": 0.1}]).defaults
        settings = {**self.settings, **_options(defaults, rest)}
        return Candidate(self.label, self.kind, settings, trial["lr"])

    def rule(self, lr: float) -> RuleOptimizer | None:
        """Returns this package's optimizer with the same steps, None where there is none."""
        point = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        optimizer = self.build([point], [{"lr": lr}])
        if isinstance(optimizer, RuleOptimizer):
            return optimizer
        try:
            return from_torch(optimizer)
        except SettingError:
            return None

    def shown_settings(self) -> str:
        """Returns the settings other than the learning rate, as they are printed.

        >>> parse_candidates("adam")[0].shown_settings()
        'betas (0.9, 0.999), eps 1e-08'
        """
        group = self.build([nn.Parameter(torch.zeros(2))], [{"lr": 0.1}]).param_groups[0]
        parts = []
        for name, value in group.items():
            if name in _HIDDEN or value is None or value is False:
                continue
            if name == "weight_decay" and not value:
                continue
            if value is True:
                parts.append(name)
            else:
                parts.append(f"{name} {_short(value)}")
        return ", ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _lr(trial: Trial) -> dict[str, float]:
    return {"lr": trial["lr"]}


def _options(defaults: Mapping[str, Any], trial: Trial) -> dict[str, Any]:
    """Returns the arguments of a trial; momentum is the first of the betas."""
    found: dict[str, Any] = dict(trial)
    if "momentum" in found and "betas" in defaults:
        found["betas"] = (found.pop("momentum"), *defaults["betas"][1:])
    return found


_HIDDEN = ("params", "param_names", "lr", "initial_lr", "decay", "decoupled_weight_decay")


def parse_candidates(
    text: str, learning_rates: Mapping[str, float] | None = None
) -> list[Candidate]:
    """Returns the candidates of a list such as `momentum,adam(betas=(0.8,0.99)),torch:SGD`.

    Args:
        text: names of `CANDIDATES` or `torch:Name`, each with settings in brackets if wanted.
        learning_rates: those that need no search, by the candidate as it is written in `text`.

    Raises:
        SettingError: a name, a setting or a learning rate does not fit.
    """
    found = [_candidate(part) for part in split_list(text)]
    labels = [one.label for one in found]
    if not found:
        raise SettingError(f"no optimizer in {text!r}; known: {', '.join(CANDIDATES)}, torch:Name")
    for label in labels:
        if labels.count(label) > 1:
            raise SettingError(f"optimizer {label} races twice; give one of them other settings")
    given = learning_rates or {}
    for label in given:
        if label not in labels:
            raise unknown("optimizer in --lr", label, labels)
    made = [Candidate(one.label, one.kind, one.settings, given.get(one.label)) for one in found]
    for one in made:  # settings that do not fit are refused before anything runs
        one.build([nn.Parameter(torch.zeros(2))], [{"lr": 0.1 if one.lr is None else one.lr}])
    return made


def split_list(text: str) -> list[str]:
    """Returns the parts between commas outside brackets.

    >>> split_list("gd, adam(betas=(0.9,0.99)), torch:SGD")
    ['gd', 'adam(betas=(0.9,0.99))', 'torch:SGD']
    """
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def parse_learning_rates(text: str) -> dict[str, float]:
    """Returns the learning rates of `--lr momentum=0.1,adam=0.01`.

    Raises:
        SettingError: a part is not name=number.
    """
    found = {}
    for part in split_list(text):
        label, equals, value = part.rpartition("=")
        try:
            if not equals:
                raise ValueError
            found[label.strip()] = float(value)
        except ValueError:
            raise SettingError(
                f"--lr {part!r} is not optimizer=learning rate, such as --lr momentum=0.1,adam=0.01"
            ) from None
    return found


def _candidate(part: str) -> Candidate:
    name, bracket, inside = part.partition("(")
    name = name.strip()
    if part.count("(") != part.count(")") or (bracket and not inside.endswith(")")):
        raise SettingError(f"optimizer {part!r}: a bracket is open; write name(setting=value)")
    settings = _settings(part, inside[:-1]) if bracket else {}
    if name.startswith("torch:"):
        kind = _torch_kind(name.removeprefix("torch:"))
        return Candidate(part, kind, {**_TORCH_DEFAULTS.get(kind.__name__, {}), **settings})
    if name in OPTIMIZERS and name not in CANDIDATES:
        raise SettingError(
            f"{name} steps whole matrices and a function has two numbers: race it on images"
        )
    if name not in CANDIDATES:
        near = difflib.get_close_matches(name, _torch_kinds(), n=1, cutoff=0.6)
        known = [*CANDIDATES, *(f"torch:{one}" for one in near)]
        raise unknown("optimizer", name, known)
    own, defaults = CANDIDATES[name]
    return Candidate(part, own, {**defaults, **settings})


def _settings(part: str, inside: str) -> dict[str, Any]:
    found = {}
    for pair in split_list(inside):
        name, equals, value = (piece.strip() for piece in pair.partition("="))
        if not equals or name == "lr":
            remedy = "give learning rates by --lr" if name == "lr" else "write name(setting=value)"
            raise SettingError(f"optimizer {part!r}: {pair!r} is no setting; {remedy}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def _torch_kinds() -> dict[str, Callable[..., Optimizer]]:
    return {
        name: kind
        for name, kind in vars(torch.optim).items()
        if inspect.isclass(kind) and issubclass(kind, Optimizer) and kind is not Optimizer
    }


def _torch_kind(name: str) -> type[Optimizer]:
    known = _torch_kinds()
    if name not in known:
        raise unknown("optimizer", f"torch:{name}", [f"torch:{one}" for one in known])
    return known[name]  # type: ignore[return-value]
