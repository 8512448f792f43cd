"""Who stands on the leaderboard, and with which settings: as many of each.

With `--trials N` the first N settings of a contestant are tried, once each, on a tenth of the
training images that is held out of them; the best one has the rows. Without trials the first is
taken. They were chosen before any row was measured, from what each project recommends for small
images and short trainings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Setting = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A project on the leaderboard.

    Attributes:
        package: whose version is reported.
        script: in this folder; None for Ravine, which has its command line.
        settings: to try, the most usual first; those of Ravine are options of `ravine train`.
        what: how it trains, in a few words.
    """

    package: str
    script: str | None
    settings: Sequence[Setting]
    what: str


_FASTAI = {"lr": 3e-3, "wd": 0.05, "batch": 64, "workers": 1, "mixup": 0, "widen": 0.5}
_TIMM = {
    "model": "resnet18", "widen": 0.5, "stem": 1, "opt": "sgd", "lr": 0.05,
    "weight_decay": 5e-4, "batch": 64, "workers": 1, "smoothing": 0.1,
}  # fmt: skip
# time= counts epochs of warming up, of which a short run has no three; no augmentation of ImageNet.
_ULTRALYTICS = {
    "model": "yolov8n-cls.yaml", "imgsz": 64, "batch": 64, "workers": 0, "cache": "ram",
    "warmup_epochs": 0.2, "auto_augment": None, "erasing": 0.0, "scale": 0.4,
}  # fmt: skip

CONTESTANTS: Mapping[str, Contestant] = {
    "ravine": Contestant(
        package="ravine",
        script=None,
        settings=(
            {},
            {"optimizer": "muon", "model": "swift-1"},
            {"augment": "flip,crop,cutout"},
        ),
        what="`ravine train FOLDER --budget SECONDS --validation 0`, everything else by default",
    ),
    "timm": Contestant(
        package="timm",
        script="timm_loop.py",
        settings=(
            _TIMM,
            {**_TIMM, "widen": 1.0},
            {**_TIMM, "opt": "adamw", "lr": 2e-3, "weight_decay": 0.05},
        ),
        what="the steps of its train.py in a loop, cosine learning rate",
    ),
    "fastai": Contestant(
        package="fastai",
        script="fastai_one_cycle.py",
        settings=(_FASTAI, {**_FASTAI, "widen": 0.25}, {**_FASTAI, "lr": 8e-3}),
        what="`fit_one_cycle`",
    ),
    "ultralytics": Contestant(
        package="ultralytics",
        script="ultralytics_classify.py",
        settings=(
            _ULTRALYTICS,
            {**_ULTRALYTICS, "imgsz": 96},
            {**_ULTRALYTICS, "model": "yolo11n-cls.yaml"},
        ),
        what="`YOLO(….yaml).train(time=…)`",
    ),
}
