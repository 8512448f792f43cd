"""Settings of the training itself: how long, on what, and with which regularisers."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ravine.core.errors import SettingError
from ravine.core.settings import Settings
from ravine.core.validation import check_device
from ravine.ops.algorithm_names import Algorithm

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def seconds_of(text: Any) -> Any:
    """Returns the seconds of a duration such as `90s`, `10min`, `1.5h`; numbers are seconds.

    Raises:
        SettingError: the text is no duration.

    >>> seconds_of("10min")
    600.0
    """
    if not isinstance(text, str):
        return text
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not found or (found[2] and found[2] not in _UNITS):
        raise SettingError(
            f"budget {text[:60]!r} is no duration; write for example 90s, 10min or 1.5h"
        )
    return float(found[1]) * _UNITS.get(found[2], 1.0)


_YEAR = 366 * 24 * 3600.0
Seconds = Annotated[float, BeforeValidator(seconds_of), Field(gt=0, le=_YEAR, allow_inf_nan=False)]


class TrainingSettings(Settings):
    """How long to train, on what, and with which regularisers."""

    epochs: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    """Passes over the training images; by default what the budget allows. Excludes budget."""

    budget: Seconds | None = None
    """Time for training and final evaluation, from when the data is ready: 90s, 10min, 1h; by
    default 10min where no epochs are given."""

    batch: int = Field(default=128, ge=1, le=65536)
    """Images per step; by default 128 (swift 256), or fewer where that leaves too few steps."""

    seed: int = Field(default=0, ge=0, le=2**62)
    """Decides initial weights, order, augmentation, dropout and split."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of activations and products; weights stay in float32."""

    convolution: Literal["auto", "guess", Algorithm] = "auto"
    """Algorithm on the CPU, of the convolutions that it fits; auto: the fastest by measuring once,
    guess: the one that should be, so that runs are alike to the bit without a measured plan."""

    threads: int = Field(default=0, ge=0, le=4096)
    """Threads on the CPU; 0 takes one per core."""

    compile: bool = False
    """Compile the network with torch.compile (a pause, then faster steps; CUDA graphs on a GPU)."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread over all classes (Szegedy et al. 2016)."""

    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of the weights that is evaluated and kept; 0 is off."""

    small_size: Annotated[int, Field(ge=0, le=65536)] | Literal["auto"] = "auto"
    """Pixels a side of the images in the first part of a run (progressive resizing); 0 for full
    ones throughout; auto: about two thirds, in a budget of few passes over the images."""

    small_share: float = Field(default=0.75, gt=0, lt=1)
    """Share of the steps whose images are small."""

    norm_statistics: Literal["auto", "running", "measured"] = "auto"
    """Of batch norm, in evaluations: running means, or measured anew; auto: in short runs."""

    balance: Literal["none", "loss", "sample"] = "none"
    """Remedy for rare classes: weigh their loss, or draw them more often."""

    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | Literal["auto"] = "auto"
    """Of several labels: the probability from which an image has one; auto: for each label the one
    with the best F1 on the validation images, 0.5 without any."""

    tta: bool = False
    """Also evaluate with the mean over each image and its mirror image, reported apart."""

    checkpoint_every: float = Field(default=60.0, ge=0, le=_YEAR, allow_inf_nan=False)
    """Seconds between checkpoints."""

    on_divergence: Literal["stop", "rollback"] = "stop"
    """When the loss explodes: stop, or go back to good weights and halve the learning rate."""

    monitor: float = Field(default=0.006, ge=0, lt=1, allow_inf_nan=False)
    """Share of the time that snapshots of the network may take; 0 for no snapshots."""

    patience: int = Field(default=0, ge=0, le=100_000)
    """Epochs without a better validation result, after which the rest of the schedule is gone
    through in as many epochs, and the run ends; 0 trains to the end."""

    keep_best: bool = True
    """Keep the weights of the best evaluation on the validation images beside the last ones."""

    keep_weights: int = Field(default=0, ge=0, le=1000)
    """Weights to keep along the way, for the trajectory of `ravine landscape`."""

    @model_validator(mode="after")
    def _known_device(self) -> Self:
        check_device(self.device)
        return self
