"""Which parameters learn at each step, and which learnt in all steps up to one, and in none since.

Flags are read and no numbers. What comes and goes (layers left out at random, experts, tasks by
turns) has been without a gradient before, or comes back, and is no such part.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor

from ravine.findings.loop_record import StoppedPart, UnreachedPart

_ENOUGH = 24  # steps, in which parts that take turns have had theirs


@final
class LearningParts:
    """Follows whether parameters, of any shape, require and have gradients.

    Args:
        parameters: that are watched.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._steps = self._validations = 0
        self._learns: list[bool] = []
        self._ever: list[bool] = [False] * len(self._parameters)  # whether there was a gradient
        self._stopped: dict[int, int] = {}  # last step of those that have learnt in all before
        self._came_back: set[int] = set()
        self._frozen_by: dict[int, int] = {}  # number of the validation they first rested in

    def after_step(self) -> None:
        """Takes what learns in a step."""
        self._steps += 1
        now = [p.requires_grad and p.grad is not None for p in self._parameters]
        if now != self._learns:
            self._ever = [
                a or p.grad is not None for a, p in zip(self._ever, self._parameters, strict=True)
            ]
            for n, (learns, did) in enumerate(zip(now, self._learns or now, strict=True)):
                if did and not learns:
                    self._stopped.setdefault(n, self._steps - 1)
                elif learns and not did:
                    self._came_back.add(n)
        self._learns = now

    def on_validation(self) -> None:
        """Takes what is frozen when the loss of a validation is told, and was not in the step."""
        self._validations += 1
        for n, (p, did) in enumerate(zip(self._parameters, self._learns, strict=False)):
            if did and not p.requires_grad:
                self._frozen_by.setdefault(n, self._validations)

    def without_gradient(self, held: set[int]) -> UnreachedPart | None:
        """Returns what an optimizer holds and no loss has reached in any step.

        Args:
            held: ids of the parameters in the optimizer.
        """
        sizes = {
            n: p.numel()
            for n, p in enumerate(self._parameters)
            if p.requires_grad and id(p) in held
        }
        found = [n for n in sizes if not self._ever[n]]
        if not found or len(found) == len(sizes) or self._steps < _ENOUGH:
            return None
        return UnreachedPart(
            steps=self._steps,
            tensors=len(found),
            share=sum(sizes[n] for n in found) / max(1, sum(sizes.values())),
        )

    def stopped(self, held: set[int]) -> StoppedPart | None:
        """Returns the parameters that stopped, of those that an optimizer still holds.

        Args:
            held: ids of the parameters in the optimizer.
        """
        found = [
            n for n in self._stopped if n not in self._came_back and id(self._parameters[n]) in held
        ]
        if not found:
            return None
        first = min(self._stopped[n] for n in found)
        frozen_by = {self._frozen_by.get(n, 0) for n in found}
        learnt = sum(p.numel() for n, p in enumerate(self._parameters) if n not in self._came_back)
        return StoppedPart(
            step=first,
            tensors=len(found),
            share=sum(self._parameters[n].numel() for n in found) / max(1, learnt),
            moments=len({self._stopped[n] for n in found}),
            is_frozen=not any(self._parameters[n].requires_grad for n in found),
            validation=min(frozen_by) if len(frozen_by) == 1 else 0,
        )
