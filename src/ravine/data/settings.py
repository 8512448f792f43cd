"""Settings of the data: where it lies and how it is read."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ravine.core.errors import SettingError
from ravine.core.settings import Settings
from ravine.data.channel_counts import MOST_BANDS
from ravine.data.name_groups import check_name_pattern

Share = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=10)]


def numbers_in(value: Any) -> Any:
    """Returns the numbers of `0.5`, `0.485,0.456,0.406`, one number or a list.

    Raises:
        SettingError: a text holds something else.
    """
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(",") if part.strip())
        except ValueError:
            raise SettingError(
                f"mean and std are numbers such as 0.485,0.456,0.406, got {value[:60]!r}"
            ) from None
    return (value,) if isinstance(value, int | float) else value


def for_channels(
    name: str, values: tuple[float, ...] | None, channels: int
) -> tuple[float, ...] | None:
    """Returns one value per channel; grey images take the mean over colours.

    Raises:
        SettingError: there are neither one nor as many as channels.

    >>> for_channels("mean", (0.25, 0.5, 0.75), 1)
    (0.5,)
    """
    if not values or len(values) == channels:
        return values or None
    if channels == 1:
        return (sum(values) / len(values),)
    if len(values) == 1:
        return values * channels
    raise SettingError(
        f"{name} has {len(values)} values, and the images have {channels} channels; give one, or "
        f"one for each channel"
    )


class DataSettings(Settings):
    """Where the images lie and how they are read."""

    data: str = ""
    """Folder of images or of .tar shards, CSV, IDX, CIFAR, .npz or .tar file, or @fashion."""

    layout: str | None = None
    """How DATA is laid out, where two readings are possible: folders, table, idx, shards …; by
    default the one that fits."""

    labels: str | None = None
    """CSV with the labels, where DATA is the folder of its images; by default DATA has them."""

    images: str | None = None
    """Folder of the images, where DATA is a CSV; by default the folder of the CSV."""

    image_column: str | None = None
    """Column of the CSV with the file names; by default found by its name."""

    label_column: str | None = None
    """Column of the CSV with the labels; by default found by its name."""

    labels_per_image: Literal["auto", "one", "several"] = "auto"
    """Labels of an image: one, or several, each a question of its own; auto: what the data says."""

    label_separator: str | None = None
    """What stands between the labels of an image in one column, such as | or a blank; by default
    found in the column."""

    split_column: str | None = None
    """Column of the CSV with the split; by default found by name and values; none for none."""

    group_column: str | None = None
    """Column of the CSV: rows of one value stay on one side of the split (one patient,
    say); by default none."""

    group_from_name: str | None = None
    """Regular expression with one group, found in each file's name: images of one value stay on
    one side of the split. One character, such as _, is short for all that stands before it; by
    default none."""

    class_level: str | None = None
    """Folder that is the class: its level below DATA, from 1; 2+ for the path from there; leaf;
    by default found from the folders."""

    label_from_name: str | None = None
    """Label in the file's name: before-dot, before-last-underscore …, or a pattern with a
    group; by default labels are not in names."""

    @field_validator("class_level", mode="before")
    @classmethod
    def _level_as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("label_separator")
    @classmethod
    def _short_separator(cls, separator: str | None) -> str | None:
        if separator is not None and (not 1 <= len(separator) <= 3 or separator.isalnum()):
            raise SettingError(
                f"label_separator {separator[:20]!r}: takes one to three characters that are no "
                "letters, such as '|', ';' or ' '"
            )
        return separator

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share held out for validation where none is given, at most 5,000 images; 0 for none."""

    folds: int | None = Field(default=None, ge=2, le=100)
    """Cross-validation: that many networks, each held out another part of the images; by default
    one network."""

    fold: int | None = Field(default=None, ge=1)
    """Of the folds, the one to train alone, from 1; by default all."""

    image_size: int | None = Field(default=None, ge=8, le=2048)
    """Pixels a side that the network sees; by default what fits the images."""

    fit: Literal["auto", "crop", "pad", "squash"] = "auto"
    """How a picture becomes square: crop cuts out the middle, pad adds black, squash stretches;
    auto crops where no picture loses more than a fifth of its area, and says what it does."""

    crop_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the shorter side that crop keeps, timm's crop_pct; with --weights theirs."""

    interpolation: Literal["lanczos", "bicubic", "bilinear"] = "lanczos"
    """How pictures are resized; with --weights as those were trained."""

    mean: Annotated[tuple[Share, ...], BeforeValidator(numbers_in)] | None = None
    """Mean of each channel, of values in 0..1, that is taken off: one number or one per channel;
    by default that of the training images, with --weights theirs."""

    std: Annotated[tuple[Deviation, ...], BeforeValidator(numbers_in)] | None = None
    """Deviation of each channel by which it is divided; by default as for mean."""

    grey_range: Literal["auto", "set"] = "auto"
    """Grey of more than 8 bits, by one scale for all images: set takes their own range; auto too,
    but divides 16 bits by 257 where they are in use."""

    bands: str | None = None
    """Bands of TIFFs of many, from 1: three of them, such as 4,3,2, or one; by default they are
    refused."""

    large_images: bool = False
    """Also read pictures of more than 90 megapixels, which else count as decompression bombs."""

    channels: str = "auto"
    """1 for grey, 3 for colour; auto is grey if every image is. Of arrays up to 16: the axis that
    holds the bands, where two may."""

    stream: Literal["auto", "on", "off"] = "auto"
    """Decode images while training, not once before; auto does it with more than fits memory."""

    workers: int | None = Field(default=None, ge=0, le=1024)
    """Processes that decode while training; by default as many as cores, 0 for none."""

    cache: bool = True
    """Keep decoded images in a cache, so that the next run starts at once."""

    @field_validator("bands", mode="before")
    @classmethod
    def _bands_as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("bands")
    @classmethod
    def _one_or_three_bands(cls, value: str | None) -> str | None:
        numbers = [] if value is None else value.split(",")
        whole = all(n.strip().isdecimal() and int(n) > 0 for n in numbers)
        if value is not None and not (whole and len(numbers) in (1, 3)):
            raise SettingError(f"bands {value[:40]!r}: wanted are three numbers from 1, or one")
        return value

    @field_validator("channels", mode="before")
    @classmethod
    def _channels_as_text(cls, value: object) -> object:
        return str(value) if type(value) is int else value

    @field_validator("channels")
    @classmethod
    def _known_channels(cls, value: str) -> str:
        if value != "auto" and value not in map(str, range(1, MOST_BANDS + 1)):
            raise SettingError(
                f"channels {value[:40]!r}: wanted is auto, 1 for grey, 3 for colour, or the bands "
                f"of an array, up to {MOST_BANDS}"
            )
        return value

    @property
    def channel_count(self) -> int | None:
        """The channels that are asked for; None for auto."""
        return None if self.channels == "auto" else int(self.channels)

    @property
    def band_numbers(self) -> tuple[int, ...]:
        """The bands that are read, from 1; () where pictures are read as they are."""
        return () if self.bands is None else tuple(int(n) for n in self.bands.split(","))

    @model_validator(mode="after")
    def _channels_of_bands(self) -> Self:
        if self.bands is not None and self.channels not in ("auto", str(len(self.band_numbers))):
            raise SettingError(f"channels {self.channels}: the bands {self.bands} decide them")
        return self

    @field_validator("group_from_name")
    @classmethod
    def _pattern_of_groups(cls, pattern: str | None) -> str | None:
        return None if pattern is None else check_name_pattern(pattern, "group_from_name")

    @model_validator(mode="after")
    def _one_kind_of_groups(self) -> Self:
        if self.group_column is not None and self.group_from_name is not None:
            raise SettingError(
                "group_column and group_from_name exclude each other; give one of them"
            )
        return self

    @model_validator(mode="after")
    def _fold_of_folds(self) -> Self:
        if self.fold is not None and (self.folds is None or self.fold > self.folds):
            raise SettingError(f"fold {self.fold} is none of {self.folds or 0} folds; see --folds")
        return self
