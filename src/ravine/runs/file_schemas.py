"""What the plain files of a run folder hold, at least: a file may come from anybody.

A schema names what the code reads; other keys are kept as they are. A row or file that does not
fit is left out by the pages, and is refused by a run that goes on.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)

from ravine.runs.label_schemas import SeveralEvaluationFile
from ravine.runs.schema_types import BestEvaluation, Count, Interval, Loose, Mistake, Number, Share


class StepsRow(Loose):
    """A row of history.jsonl about some steps."""

    kind: Literal["step"]
    step: Count
    epoch: Annotated[float, Field(ge=0, le=1e12)]
    loss: Number | None = None
    loss_floor: Number | None = None
    accuracy: Share | None = None
    exact_match: Share | None = None
    lr: Number | None = None
    images_per_second: Number | None = None
    elapsed: Number | None = None
    skipped: Count | None = None
    gradient_norm: Number | None = None


class EpochRow(Loose):
    """A row of history.jsonl about an epoch."""

    kind: Literal["epoch"]
    step: Count
    epoch: Annotated[float, Field(ge=0, le=1e12)]
    train_loss: Number | None = None
    train_loss_floor: Number | None = None
    train_accuracy: Share | None = None
    train_exact_match: Share | None = None
    accuracy: Share | None = None
    interval: Interval | None = None
    mean_ap: Share | None = None
    macro_f1: Share | None = None
    loss: Number | None = None
    elapsed: Number | None = None
    images_per_second: Number | None = None


class RollbackRow(Loose):
    """A row of history.jsonl about a return to weights that were good."""

    kind: Literal["rollback"]
    step: Count


class TrialRow(Loose):
    """What the trial of a cure found."""

    text: str | None = None


class FindingRow(Loose):
    """A row of findings.jsonl."""

    severity: str | None = None
    code: str | None = None
    text: str | None = None
    cause: str | None = None
    cure: str | None = None
    layer: str | None = None
    step: Count | None = None
    trial: TrialRow | None = None
    by: str | None = None


class Calibration(Loose):
    """Accuracy by confidence."""

    ece: Share
    edges: Annotated[list[Share], Field(min_length=2)]
    accuracy: list[Share | None]
    confidence: list[Share | None]
    count: list[Count]


class OtherAccuracy(Loose):
    """Another accuracy of the same images: with test-time flip, or within the first five."""

    accuracy: Share
    interval: Interval


class BaselineRow(Loose):
    """What the pixels alone give, on the images of an evaluation or some of them."""

    name: str
    accuracy: Share
    interval: Interval
    count: Annotated[int, Field(ge=1, le=2**53)]
    trained_on: Count
    only_baseline: Count
    only_network: Count
    p: Share


class EvaluationFile(Loose):
    """evaluation.json; how it holds the confusion is left to who reads it."""

    split: str
    count: Count
    accuracy: Share
    interval: Interval
    loss: Number | None = None
    classes: Annotated[list[str], Field(min_length=1)]
    calibration: Calibration | None = None
    tta: OtherAccuracy | None = None
    top5: OtherAccuracy | None = None
    baselines: list[BaselineRow] = []
    best: BestEvaluation | None = None
    mistakes: list[Mistake] = []


class ModelFacts(Loose):
    """The network of environment.json."""

    name: str = "–"
    parameters: Count | None = None
    stem: str | None = None


class EnvironmentFile(Loose):
    """environment.json."""

    processes: Annotated[int, Field(ge=1, le=2**20)] = 1
    data_fingerprint: str | None = None
    seconds: dict[str, Number | None] = {}
    model: ModelFacts | None = None
    images_per_second: Number | None = None


class WeightsFile(Loose):
    """weights.json: where the trained weights of a run's start come from."""

    source: str
    fingerprint: str | None = None
    licence: str | None = None
    model: str | None = None
    notes: list[str] = []


class ClassCounts(Loose):
    """A class of audit.json."""

    name: str
    counts: dict[str, Count]


class SizeCount(Loose):
    """A size of images."""

    size: str
    count: Count


class ModeCount(Loose):
    """A Pillow mode of images."""

    mode: str
    count: Count


class UnreadableFile(Loose):
    """A file that is no image."""

    name: str
    reason: str


class UnlabelledCount(Loose):
    """Images without a label."""

    images: Count = 0


class Duplicates(Loose):
    """Images with the same pixels."""

    images: Count = 0
    groups: Count = 0
    examples: list[list[str]] = []


class NearDuplicates(Loose):
    """Images whose pixels differ a little."""

    pairs: Count = 0
    compared: Count = 0
    different_labels: Count = 0
    across_the_split: Count = 0
    examples: list[list[str]] = []


class Leaked(Loose):
    """Images on both sides of the split."""

    images: Count = 0
    action: str | None = None
    examples: list[list[str]] = []


class Conflict(Loose):
    """Images with the same pixels and different labels."""

    names: list[str]
    labels: list[str]


class Imbalance(Loose):
    """The largest class and the smallest."""

    ratio: Number = 1.0
    smallest: str | None = None
    largest: str | None = None
    advice: str | None = None


class AuditFile(Loose):
    """audit.json."""

    data: str | None = None
    count: Count | None = None
    classes: list[ClassCounts] = []
    sizes: list[SizeCount] = []
    modes: list[ModeCount] = []
    unreadable: list[UnreadableFile] = []
    unlabelled: UnlabelledCount = UnlabelledCount()
    duplicates: Duplicates = Duplicates()
    near_duplicates: NearDuplicates = NearDuplicates()
    leakage: Leaked = Leaked()
    conflicts: list[Conflict] = []
    imbalance: Imbalance = Imbalance()
    rule: str = ""


class TrainingPicture(Loose):
    """An augmented training image of pictures/index.json."""

    image: str
    label: str


class PairPicture(Loose):
    """Two images with the same pixels."""

    kind: str
    names: Annotated[list[str], Field(min_length=2, max_length=2)]
    labels: Annotated[list[str], Field(min_length=2, max_length=2)]
    images: Annotated[list[str], Field(min_length=2, max_length=2)]


class PicturesFile(Loose):
    """pictures/index.json."""

    training: list[TrainingPicture] = []
    pairs: list[PairPicture] = []


class VarianceFactor(Loose):
    """The variance from layer to layer."""

    measured: Number | None
    predicted: Number | None


class VarianceLayer(Loose):
    """A layer of variance.json."""

    forward: Number | None
    forward_predicted: Number | None
    forward_band: Number | None = None
    backward: Number | None
    backward_predicted: Number | None
    backward_band: Number | None = None


class VarianceFactors(Loose):
    """Those of activations and of gradients."""

    forward: VarianceFactor
    backward: VarianceFactor


class VarianceNetwork(Loose):
    """A network of variance.json."""

    name: str
    layers: Annotated[list[VarianceLayer], Field(min_length=1)]
    factors: VarianceFactors


class LossesRow(Loose):
    """A row of losses.jsonl."""

    first: Count
    losses: list[Number | None]
    elapsed: Number | None = None


def _has_several(evaluation: Any) -> bool:
    """Returns whether it is of several labels: what was read, or the model of it."""
    if isinstance(evaluation, dict):
        return "mean_ap" in evaluation
    return isinstance(evaluation, SeveralEvaluationFile)


HISTORY = TypeAdapter[Any](
    Annotated[StepsRow | EpochRow | RollbackRow, Field(discriminator="kind")]
)
LOSSES = TypeAdapter[Any](LossesRow)
FINDING = TypeAdapter[Any](FindingRow)
EVALUATION = TypeAdapter[Any](
    Annotated[
        Annotated[EvaluationFile, Tag("one")] | Annotated[SeveralEvaluationFile, Tag("several")],
        Discriminator(lambda value: "several" if _has_several(value) else "one"),
    ]
)
ENVIRONMENT = TypeAdapter[Any](EnvironmentFile)
PICTURES = TypeAdapter[Any](PicturesFile)
AUDIT = TypeAdapter[Any](AuditFile)
WEIGHTS = TypeAdapter[Any](WeightsFile)
VARIANCE = TypeAdapter[Any](Annotated[list[VarianceNetwork], Field(min_length=1, max_length=32)])


def fault_in(value: Any, schema: TypeAdapter[Any]) -> str | None:
    """Returns in some words what does not fit a schema; None where all does.

    >>> fault_in({"severity": 3}, FINDING)
    'severity: input should be a valid string'
    """
    try:
        schema.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        tagged = schema is EVALUATION
        where = ".".join(str(part) for part in first["loc"][tagged:])[:80]
        message = first["msg"]
        return f"{where or 'it'}: {message[0].lower()}{message[1:]}"[:200]
    except RecursionError:
        return "it is nested too deeply"
    return None


def with_defaults(value: Any, schema: TypeAdapter[Any]) -> Any:
    """Returns a value that fits a schema, with what is left out as None or what it stands for.

    >>> with_defaults({"code": "overfitting"}, FINDING)["severity"] is None
    True
    """
    return schema.dump_python(schema.validate_python(value))


def whole(rows: Iterable[dict[str, Any]], schema: TypeAdapter[Any]) -> list[dict[str, Any]]:
    """Returns the rows that fit a schema."""
    return [row for row in rows if fault_in(row, schema) is None]
