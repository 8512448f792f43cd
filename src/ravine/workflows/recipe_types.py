"""The types of a recipe's settings, for the keyword arguments of `ravine.train`.

Editors complete them, and type checkers see a wrong name before anything runs; what each means
stands in `Recipe`, whose fields these are.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from ravine.nn.layer_names import Activation, DropoutForm, Norm
from ravine.ops.algorithm_names import Algorithm


class RecipeSettings(TypedDict, total=False):
    """Any of the settings of a recipe but `data`, which is an argument of its own."""

    epochs: float | None
    budget: float | str | None
    batch: int
    seed: int
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    convolution: Literal["auto", "guess", Algorithm]
    threads: int
    compile: bool
    label_smoothing: float
    ema: float
    small_size: int | Literal["auto"]
    small_share: float
    norm_statistics: Literal["auto", "running", "measured"]
    balance: Literal["none", "loss", "sample"]
    threshold: float | Literal["auto"]
    tta: bool
    checkpoint_every: float
    on_divergence: Literal["stop", "rollback"]
    monitor: float
    patience: int
    keep_best: bool
    keep_weights: int
    schedule: str
    warmup: float
    momentum_schedule: str
    decay_schedule: str
    optimizer: str
    lr: float | Literal["auto"] | None
    momentum: float | None
    alpha: float | None
    eps: float
    weight_decay: float
    bias_lr_multiplier: float
    decay: Literal["auto", "coupled", "decoupled"]
    clip: float | Literal["auto"] | None
    clip_by: Literal["norm", "value", "agc"]
    weights: str | None
    freeze: str
    layer_decay: float | None
    views: float | None
    model: str
    activation: Activation
    norm: Norm
    dropout: float | Sequence[float]
    dropout_form: DropoutForm
    skip: bool
    init: str
    zero_init: bool
    augment: str
    crop_padding: int | None
    cutout_size: int | None
    erase_probability: float
    jitter_strength: float
    mixup: float
    cutmix: float
    layout: str | None
    labels: str | Path | None
    images: str | Path | None
    image_column: str | None
    label_column: str | None
    labels_per_image: Literal["auto", "one", "several"]
    label_separator: str | None
    split_column: str | None
    group_column: str | None
    group_from_name: str | None
    class_level: str | None
    label_from_name: str | None
    validation: float
    folds: int | None
    fold: int | None
    image_size: int | None
    fit: Literal["auto", "crop", "pad", "squash"]
    crop_share: float
    interpolation: Literal["lanczos", "bicubic", "bilinear"]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    grey_range: Literal["auto", "set"]
    large_images: bool
    bands: str | None
    channels: str
    stream: Literal["auto", "on", "off"]
    workers: int | None
    cache: bool
