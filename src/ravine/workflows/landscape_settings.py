"""Settings of `ravine landscape`: those of the grid, and what the run's surfaces need besides."""

from typing import Any, final

from pydantic import field_validator

from ravine.core.errors import SettingError
from ravine.core.validation import check_choice
from ravine.landscapes.settings import KINDS, POLICIES, GridSettings, SurfaceSettings
from ravine.training.settings import seconds_of


@final
class RunSurfaceSettings(GridSettings):
    """Settings of the surfaces of a run."""

    along: str = "auto"
    """auto, random, line, trajectory, models or hessian; auto is models with --to, trajectory where
    the run kept its weights along the way, else random."""

    policy: tuple[str, ...] = ()
    """Batch norm: running, batch or re-estimated; several by commas, side by side; by default
    running, or re-estimated between models."""

    images: int = 1000
    """Images, the same at every node, drawn at random."""

    data: str | None = None
    """Labelled images to compute the loss on; by default the run's own."""

    labels: str | None = None
    """CSV with the labels of data; by default what the data says."""

    device: str = "auto"
    """auto (all GPUs, else the CPU), cpu, cuda or cuda:N."""

    precision: str = "auto"
    """auto, float32 or bfloat16."""

    def of_surface(self, along: str, policy: str | None) -> SurfaceSettings:
        """Returns the settings of one of the surfaces.

        Args:
            along: the kind of its directions, never `auto`.
            policy: one of `self.policy`, or None for the default.
        """
        shared = {name: getattr(self, name) for name in GridSettings.model_fields}
        return SurfaceSettings(**shared, along=along, policy=policy, precision=self.precision)

    @field_validator("along")
    @classmethod
    def _check_along(cls, along: str) -> str:
        check_choice("along", along, ["auto", *KINDS])
        return along

    @field_validator("policy", mode="before")
    @classmethod
    def _split_policies(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("policy")
    @classmethod
    def _check_policies(cls, policies: tuple[str, ...]) -> tuple[str, ...]:
        for policy in policies:
            check_choice("policy", policy, POLICIES)
        return policies

    @field_validator("budget", mode="before")
    @classmethod
    def _parse_budget(cls, value: Any) -> Any:
        return seconds_of(value)

    @field_validator("images")
    @classmethod
    def _check_images(cls, images: int) -> int:
        if images < 2:
            raise SettingError(f"images must be at least 2, got {images}")
        return images
