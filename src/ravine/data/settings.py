"""Settings of the data: where it lies and how it is read."""

from typing import Literal

from pydantic import Field

from ravine.core.settings import Settings


class DataSettings(Settings):
    """Where the images lie and how they are read."""

    data: str = ""
    """Folder of images or of .tar shards, CSV, IDX, CIFAR, .npz or .tar file, or @fashion."""

    labels: str | None = None
    """CSV with the labels, where DATA is the folder of its images; by default DATA has them."""

    images: str | None = None
    """Folder of the images, where DATA is a CSV; by default the folder of the CSV."""

    image_column: str | None = None
    """Column of the CSV with the file names; by default found by its name."""

    label_column: str | None = None
    """Column of the CSV with the labels; by default found by its name."""

    group_column: str | None = None
    """Column of the CSV: rows of one value stay on one side of the split (one patient,
    say); by default none."""

    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share held out for validation where none is given, at most 5,000 images; 0 for none."""

    image_size: int | None = Field(default=None, ge=8, le=2048)
    """Pixels a side that the network sees; by default what fits the images."""

    channels: Literal["auto", "1", "3"] = "auto"
    """1 for grey, 3 for colour; auto is grey if every image is."""

    stream: Literal["auto", "on", "off"] = "auto"
    """Decode images while training, not once before; auto does it with more than fits memory."""

    workers: int | None = Field(default=None, ge=0, le=1024)
    """Processes that decode while training; by default one fewer than cores, 0 for none."""

    cache: bool = True
    """Keep decoded images in a cache, so that the next run starts at once."""
