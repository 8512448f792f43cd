"""What the schemas of a run folder's files have in common: numbers, shares, shared parts."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MOST = 3.5e38  # float32's; numbers beyond are no measurement
Number = Annotated[float, Field(ge=-_MOST, le=_MOST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]


class Loose(BaseModel):
    """A JSON object of which only some keys are read."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class BestEvaluation(Loose):
    """The best evaluation on the validation images along the way."""

    step: Count
    epoch: Annotated[float, Field(ge=0, le=1e12)]
    accuracy: Share
    loss: Number | None = None
    evaluations: Count
    images: Count
    luck: Share
    is_last: bool


class Mistake(Loose):
    """One of the most confident errors."""

    name: str
    true: str
    predicted: str
    probability: Share
    image: str = ""
