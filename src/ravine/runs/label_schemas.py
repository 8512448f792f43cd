"""evaluation.json where an image has several labels, as `file_schemas` has the others."""

from typing import Annotated

from pydantic import Field

from ravine.runs.schema_types import BestEvaluation, Count, Interval, Loose, Mistake, Number, Share


class LabelRow(Loose):
    """A label of evaluation.json, where an image has several."""

    name: str
    count: Count
    predicted: Count
    threshold: Share
    average_precision: Share | None = None
    average_precision_interval: Interval | None = None
    precision: Share | None = None
    precision_interval: Interval
    recall: Share | None = None
    recall_interval: Interval
    f1: Share | None = None
    f1_interval: Interval | None = None


class ThresholdFacts(Loose):
    """Where the thresholds of labels come from."""

    chosen_on_these_images: bool = False
    macro_f1_cross_fitted: Share | None = None


class MirroredLabels(Loose):
    """The result with test-time flip, of several labels."""

    mean_ap: Share
    mean_ap_interval: Interval


class SeveralEvaluationFile(Loose):
    """evaluation.json where an image has several labels."""

    split: str
    count: Count
    mean_ap: Share
    mean_ap_interval: Interval
    macro_f1: Share
    macro_f1_interval: Interval
    micro_f1: Share
    micro_f1_interval: Interval
    exact_match: Share
    exact_match_interval: Interval
    chance: Share
    loss: Number | None = None
    classes: Annotated[list[str], Field(min_length=1)]
    labels: Annotated[list[LabelRow], Field(min_length=1)]
    thresholds: ThresholdFacts
    tta: MirroredLabels | None = None
    best: BestEvaluation | None = None
    mistakes: list[Mistake] = []
