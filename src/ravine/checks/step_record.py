"""Records of the user's step: gradients, updates, learning rates, modes; and their geometry."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from torch import Tensor, nn
from torch.optim import Optimizer

# By index of the parameter in the order of the model.
Tensors = Mapping[int, Tensor]


@final
@dataclass(slots=True, kw_only=True)
class StepRecord:
    """What happened until the optimizer stepped once.

    Attributes:
        optimizer: that stepped with gradients first; None where none did.
        has_closure: its step was given a function, and computed gradients itself.
        without_gradients: times that an optimizer stepped and no parameter had a gradient.
        gradients: at its step.
        updates: what it added to each parameter.
        learning_rates: of its groups, one tuple for each call that it stepped in.
        training: of each forward pass with gradients, whether the model was in training mode.
        modes: of the first such pass, whether each module was in training mode, in their order.
        calls: of the user's step.
        moved: whether a weight differs after them.
        held: indices of the parameters that the optimizers hold which stepped, or were about to.
        part: of those, the ones that `optimizer` holds, where there are others; empty otherwise.
        reached: indices of the parameters with a gradient other than 0 at any optimizer's step.
        starved: indices of the parameters of the first optimizer that stepped and had none.
        changed: whether the step wrote into the batch that it was given, and would again.
        dropped: calls whose gradients were cleared in the next one before any optimizer stepped.
        waits: whether the time ended, no optimizer had stepped, and gradients of all calls add up.
        fed: arguments of the last pass with gradients, without the graph; () before it.
        parts: examples of each pass with gradients.
        lost: passes whose gradients were cleared before another one of the same call.
        clips: clip_grad_norm_ was called.
        clips_nothing: clip_grad_norm_ was called in one call of the step, each time on nothing.
        drifted: names of batch norms with frozen weights whose statistics differ after them.
        by_hand: indices of the parameters that differ after them and that none of these
            optimizers holds.
        outer: ids of weights outside of the model that the step trains: an optimizer holds them,
            or the loss depends on them and they differ after it.
    """

    optimizer: Optimizer | None = None
    has_closure: bool = False
    without_gradients: int = 0
    gradients: Tensors = field(default_factory=dict)
    updates: Tensors = field(default_factory=dict)
    learning_rates: list[tuple[float, ...]] = field(default_factory=list)
    training: list[bool] = field(default_factory=list)
    modes: tuple[bool, ...] = ()
    calls: int = 0
    moved: bool = False
    held: set[int] = field(default_factory=set)
    part: set[int] = field(default_factory=set)
    reached: set[int] = field(default_factory=set)
    starved: set[int] = field(default_factory=set)
    changed: bool = False
    dropped: int = 0
    waits: bool = False
    fed: tuple[Any, ...] = ()
    parts: list[int] = field(default_factory=list)
    lost: int = 0
    clips: bool = False
    clips_nothing: bool = False
    drifted: tuple[str, ...] = ()
    by_hand: set[int] = field(default_factory=set)
    outer: set[int] = field(default_factory=set)

    @property
    def rests(self) -> bool:
        """Whether the learning rates are 0 in all calls so far."""
        return bool(self.learning_rates) and not any(
            lr for lrs in self.learning_rates for lr in lrs
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepPair:
    """Two records from the same weights.

    Attributes:
        first: from the state as it was.
        second: after it, with the gradients that it left; None where the first never stepped.
        declared: gradient of the declared loss on the same batch; empty where it has none.
        other: gradient of a step on another batch than the one before, and the declared one on
            that batch; None where it was not tried.
        other_fed: `StepRecord.fed` of that step.
        in_turn: `StepRecord.reached` of later steps, where the first two leave out weights.
        by_hand: `StepRecord.by_hand` of these and of some calls in a row.
        outer: `StepRecord.outer` of the same.
    """

    first: StepRecord
    second: StepRecord | None
    declared: Tensors
    other: tuple[Tensors, Tensors] | None = None
    other_fed: tuple[Any, ...] = ()
    in_turn: frozenset[int] = frozenset()
    by_hand: frozenset[int] = frozenset()
    outer: frozenset[int] = frozenset()

    @property
    def starved(self) -> set[int]:
        """`StepRecord.starved` of both steps: tasks may take turns."""
        return self.first.starved & self.second.starved if self.second else self.first.starved

    @property
    def reached(self) -> set[int]:
        """The parameters that get a gradient other than 0 in any of the steps."""
        return self.first.reached | (self.second.reached if self.second else set()) | self.in_turn


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What one call of the step did beside its updates.

    Attributes:
        given_probabilities: losses of log-probabilities that were given probabilities.
        others: networks beside the model, outermost first, that ran without gradient and have
            weights that no optimizer holds and nothing changed; with the arguments of a pass.
        broadcast: function by which the number of each example meets that of each; "" without one.
    """

    given_probabilities: tuple[str, ...] = ()
    others: tuple[tuple[nn.Module, Any], ...] = ()
    broadcast: str = ""


def of_one_optimizer(pair: StepPair) -> StepPair:
    """Returns a pair whose gradients and updates are of the weights that its optimizer holds.

    Those of the others, such as a second network's, are none of its loss.
    """
    part = pair.first.part
    if not part:
        return pair

    def own(tensors: Tensors) -> Tensors:
        return {n: t for n, t in tensors.items() if n in part}

    first = replace(
        pair.first, gradients=own(pair.first.gradients), updates=own(pair.first.updates)
    )
    other = None if pair.other is None else (own(pair.other[0]), own(pair.other[1]))
    return replace(pair, first=first, declared=own(pair.declared), other=other)


def inner(one: Tensors, other: Tensors) -> float:
    """Returns the inner product over the parameters that both have, in float64."""
    both = [n for n in one if n in other]
    return sum(float((one[n].double() * other[n].double()).sum()) for n in both)


def norm(one: Tensors) -> float:
    """Returns the Euclidean norm."""
    return float(inner(one, one) ** 0.5)


def cosine(one: Tensors, other: Tensors) -> float:
    """Returns the cosine of the angle; 0 where one of them is 0."""
    length = norm(one) * norm(other)
    return inner(one, other) / length if length > 0 else 0.0
