"""What a run starts from: trained weights that are fitted to its network, or those in its folder.

A run keeps its weights of before step 1 in start.safetensors, so that going on with it never needs
the file, the run or the hub that they came from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import nn

from ravine.core.errors import RunError
from ravine.weights.adapt import Adapted, adapt
from ravine.weights.trained_weights import TrainedWeights


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StartWeights:
    """The weights before step 1.

    Attributes:
        trained: that a network is to be fitted with; None where `stored` is there.
        stored: a whole state dict, as a run's folder keeps it.
        record: plain values about them, as weights.json holds them.
    """

    trained: TrainedWeights | None = None
    stored: Mapping[str, torch.Tensor] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def adapted(
        self, model: nn.Module, *, classes: Sequence[str], head: str | None
    ) -> Adapted | None:
        """Returns how the trained weights fit a network; None where the folder's are there.

        Raises:
            RunError: they do not fit.
        """
        if self.stored is not None or self.trained is None:
            return None
        return adapt(model, self.trained, classes=classes, head=head)

    def put_into_(self, model: nn.Module, *, classes: Sequence[str], head: str | None) -> None:
        """Sets a network's weights and buffers to these.

        Raises:
            RunError: they do not fit.
        """
        adapted = self.adapted(model, classes=classes, head=head)
        tensors = adapted.tensors if adapted is not None else self.stored
        if tensors is None:
            return
        try:
            model.load_state_dict(dict(tensors))
        except RuntimeError as error:
            why = str(error).splitlines()[-1].strip()
            raise RunError(f"start.safetensors does not fit this network: {why}") from None


def record_of(trained: TrainedWeights, adapted: Adapted) -> dict[str, Any]:
    """Returns what weights.json says of the weights of a run, as plain values."""
    return {
        "source": trained.source,
        "fingerprint": trained.fingerprint(),
        "licence": trained.licence,
        "model": trained.model,
        "details": dict(trained.details),
        "input": trained.input.settings(),
        "notes": list(adapted.notes),
        "matched_by": adapted.match.by,
        "tensors": {**adapted.match.names, **adapted.match.head},
        "stem": adapted.match.stem,
        "head": adapted.head,
        "classes_kept": list(adapted.kept),
    }
