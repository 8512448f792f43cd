"""timm, as it is found on people's machines: imported, named, and what its networks take in."""

import importlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, final

from ravine.core.errors import SettingError, unknown

PREFIX = "timm/"
_TORCHVISION_AHEAD = 15  # minors: torchvision 0.28 belongs to torch 2.13


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TimmNetwork:
    """What timm knows of a network by its name.

    Attributes:
        name: without `timm/`, with the tag of its weights where it has some.
        architecture: without the tag.
        image_size: pixels a side of its weights' images.
        fixed: whether it takes no other size.
        least: pixels a side that it needs at least; 0 where timm does not say.
        pretrained: timm's record of the weights as plain values; empty where there are none.
    """

    name: str
    architecture: str
    image_size: int
    fixed: bool
    least: int
    pretrained: dict[str, Any]


def load_timm(wanted: str) -> Any:
    """Returns the module timm.

    Args:
        wanted: the network, for the message.

    Raises:
        SettingError: it is not installed, or torchvision, which it imports, does not fit torch.
    """
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        missing = (error.name or "timm").partition(".")[0]
        extra = "'ravine[timm]'" if missing == "timm" else missing
        raise SettingError(f"{wanted} needs {missing}: pip install {extra}") from None
    except (ImportError, RuntimeError, OSError) as error:
        raise SettingError(_misfit(wanted, error)) from None


def _misfit(wanted: str, error: Exception) -> str:
    """Returns the line about a torchvision that was built for another torch."""
    torch, torchvision = _version("torch"), _version("torchvision")
    first = (str(error).splitlines() or [type(error).__name__])[0][:120]
    plain, _, build = torch.partition("+")
    fits = f"0.{int(plain.split('.')[1]) + _TORCHVISION_AHEAD}.*"
    kind = f", its build +{build} from the index that torch came from" if build else ""
    return (
        f"{wanted}: timm cannot be imported, since torchvision {torchvision} does not fit torch "
        f"{torch} ({first}); install the one that does{kind}: pip install --force-reinstall "
        f"--no-deps 'torchvision=={fits}'"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def describe_timm(name: str) -> TimmNetwork:
    """Returns what timm knows of a network.

    Args:
        name: `resnet18`, or with the tag of its weights `resnet18.a1_in1k`.

    Raises:
        SettingError: timm is not there, or does not know the name; the nearest are named.
    """
    timm = load_timm(f"{PREFIX}{name}")
    architecture = name.partition(".")[0]
    if not timm.is_model(architecture):
        raise _unknown_name(name, timm.list_models())
    try:
        record = timm.get_pretrained_cfg(name)
    except RuntimeError:  # no such tag
        tagged = timm.list_models(f"{architecture}.*", pretrained=True)
        raise _unknown_weights(name, architecture, tagged) from None
    known = {} if record is None else record.to_dict()
    size = known.get("input_size") or (3, 224, 224)
    least = known.get("min_input_size") or (3, 0, 0)
    tag = known.get("tag") or ""
    return TimmNetwork(
        name=f"{architecture}.{tag}" if tag else architecture,
        architecture=architecture,
        image_size=int(size[-1]),
        fixed=bool(known.get("fixed_input_size")),
        least=int(least[-1]),
        pretrained=known,
    )


def _unknown_name(name: str, known: list[str]) -> SettingError:
    """Returns the error for a name that timm does not have, with the nearest ones."""
    near = str(unknown("network of timm", name, known)).partition(" Known: ")[0].rstrip(".")
    every = "python -c 'import timm; print(*timm.list_models())'"
    return SettingError(f"{near}; all {len(known):,}: {every}")


def _unknown_weights(name: str, architecture: str, known: list[str]) -> SettingError:
    """Returns the error for a tag that the weights of an architecture do not have."""
    if not known:
        return SettingError(
            f"timm has no weights for {architecture}; without: --model {PREFIX}{architecture}"
        )
    return unknown("weights of timm", name, known)


def refuse_other_size(network: TimmNetwork, image_size: int) -> None:
    """Raises `SettingError` where a network cannot take images of this size."""
    if network.fixed and image_size != network.image_size:
        size = network.image_size
        raise SettingError(
            f"{PREFIX}{network.name} takes images of {size}×{size} only, not of {image_size}: "
            f"--image-size {size}, or a convolutional network, which takes any"
        )
    if image_size < network.least:
        raise SettingError(
            f"{PREFIX}{network.name} needs images of at least {network.least} pixels a side, got "
            f"{image_size}: --image-size {network.least}"
        )


def make_timm(name: str, *, classes: int, channels: int, image_size: int) -> Any:
    """Returns timm's network of this name, with fresh weights: images to logits (B, classes).

    Raises:
        SettingError: timm is not there, does not know the name, or images of this size do not fit.
    """
    network = describe_timm(name)
    refuse_other_size(network, image_size)
    timm = load_timm(f"{PREFIX}{name}")
    return timm.create_model(network.architecture, num_classes=classes, in_chans=channels)
