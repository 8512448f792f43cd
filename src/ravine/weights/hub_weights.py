"""Weights in the layout of the hub: model.safetensors and config.json, from it or from a folder.

What lies in the hub's cache on this machine is taken from there, without asking the network;
HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean to `huggingface_hub`,
which downloads. Only tensors and plain JSON are read; a `.bin` is never opened.
"""

import importlib
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ravine.core.errors import RunError, SettingError
from ravine.core.json_text import parse_json
from ravine.core.regular_file import read_regular
from ravine.weights.trained_weights import NetworkInput, TrainedWeights
from ravine.weights.weight_file import PICKLES, read_weight_file, refuse_pickle

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_SECONDS_TO_ANSWER = 5.0
_INTERPOLATIONS = ("bicubic", "bilinear", "lanczos")


def fetch_folder(repository: str, *, wanted: str) -> Path:
    """Returns the folder of a repository's files, from the hub's cache or from the hub.

    Args:
        repository: `timm/resnet18.a1_in1k`.
        wanted: what the user named, for the message.

    Raises:
        RunError: the hub does not answer, or the repository holds no safetensors.
        SettingError: huggingface_hub is not installed.
    """
    path = _fetch(repository, WEIGHTS, wanted, is_first=True)
    if path is None:
        raise RunError(
            f"{wanted}: {repository} holds no {WEIGHTS}; Ravine opens no pickle such as "
            f"pytorch{PICKLES[0]}: choose other weights"
        )
    for name in (CONFIG, CARD):  # they lie beside it in the cache
        _fetch(repository, name, wanted)
    return path.parent


def _fetch(repository: str, name: str, wanted: str, *, is_first: bool = False) -> Path | None:
    """Returns one file; None where the repository has none of this name."""
    try:
        hub = importlib.import_module("huggingface_hub")
        errors = importlib.import_module("huggingface_hub.errors")
    except ImportError:
        raise SettingError(
            f"{wanted} is on the hub, which is read with huggingface_hub: "
            "pip install 'ravine[timm]'"
        ) from None
    cached = hub.try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None:  # known to be missing there
        return None
    try:
        with _quietly():
            if is_first:  # a download tries a hub that does not answer for half a minute
                address = hub.hf_hub_url(repository, name)
                hub.get_hf_file_metadata(address, timeout=_SECONDS_TO_ANSWER)
            return Path(hub.hf_hub_download(repository, name, etag_timeout=_SECONDS_TO_ANSWER))
    except errors.GatedRepoError:
        raise RunError(
            f"{wanted}: the terms of {repository} are to be accepted on the hub, "
            f"{hub.constants.ENDPOINT}; then log in: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise RunError(
            f"{wanted}: there is no repository {repository} on the hub, {hub.constants.ENDPOINT}; "
            "name other weights"
        ) from None
    except errors.LocalEntryNotFoundError as error:
        raise _no_answer(repository, wanted, hub, error) from None
    except errors.EntryNotFoundError:
        return None
    except Exception as error:  # of whatever HTTP client it has
        raise _no_answer(repository, wanted, hub, error) from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Keeps the hub's library from printing each try; the error at the end says what was wrong."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _no_answer(repository: str, wanted: str, hub: Any, error: Exception) -> RunError:
    cause = error.__cause__ or error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    first = (str(cause).splitlines() or [""])[0][:40].strip() or type(cause).__name__
    what = f"answers {status}" if status else f"does not answer ({first})"
    if hub.constants.HF_HUB_OFFLINE:
        why = "HF_HUB_OFFLINE is set"
    else:
        why = f"the hub {hub.constants.ENDPOINT} {what}"
    return RunError(
        f"{wanted}: {why}, and the cache {hub.constants.HF_HUB_CACHE} (HF_HOME) lacks it; name a "
        "folder that holds the weights, or where there is a network: "
        f"hf download {repository} {WEIGHTS} {CONFIG}"
    )


def read_hub_folder(
    folder: Path, *, source: str, record: Mapping[str, Any] | None = None
) -> tuple[TrainedWeights, str | None]:
    """Returns the weights in a folder, and the architecture that its config.json names.

    Args:
        folder: with model.safetensors, and config.json and README.md where it has them.
        source: what the user named.
        record: timm's own record of the weights, where config.json does not say something.

    Raises:
        RunError: a file is missing, torn, or no JSON.
        PickleRefusedError: the weights are a pickle.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        for other in sorted(p for p in folder.iterdir() if p.suffix in PICKLES and p.is_file()):
            refuse_pickle(other, target=path)
        raise RunError(
            f"{folder} holds no {WEIGHTS}; name a run, a .safetensors file, or a folder that has "
            f"{WEIGHTS} and {CONFIG}"
        )
    tensors, metadata = read_weight_file(path)
    config = _config(folder / CONFIG)
    own = config.get("pretrained_cfg")
    known = {**(record or {}), **(own if isinstance(own, dict) else {})}
    for name in ("label_names", "num_classes", "license"):
        known.setdefault(name, config.get(name))
    licence = known.get("license") or metadata.get("license") or _licence_of_card(folder / CARD)
    architecture = config.get("architecture") or known.get("architecture")
    found = TrainedWeights(
        tensors=tensors,
        source=source,
        classes=_classes(known, tensors),
        input=input_of(known),
        licence=str(licence) if licence else None,
        details={"file": str(path.absolute()), "architecture": architecture, **_links(known)},
    )
    return found, architecture if isinstance(architecture, str) else None


def _links(known: Mapping[str, Any]) -> dict[str, str]:
    names = ("hf_hub_id", "origin_url", "description")
    return {name: str(known[name]) for name in names if known.get(name)}


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is no JSON: {str(error)[:120]}") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} holds no JSON object")
    return found


def _classes(known: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Returns the names of the classes; none where they are not those of the head's rows."""
    names = known.get("label_names")
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        return ()
    return tuple(names) if any(len(t) == len(names) for t in tensors.values() if t.dim()) else ()


def input_of(known: Mapping[str, Any]) -> NetworkInput:
    """Returns the images of a record of weights, as timm writes it; what is odd counts as unknown.

    >>> input_of({"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic"})
    ... # doctest: +ELLIPSIS
    NetworkInput(image_size=224, mean=None, ..., crop_share=0.95, fit='crop')
    """
    size, share = known.get("input_size"), known.get("crop_pct")
    sides = list(size) if isinstance(size, list | tuple) and len(size) == 3 else []
    square = len(sides) == 3 and sides[1] == sides[2] and isinstance(sides[1], int)
    interpolation = known.get("interpolation")
    mean, std = _numbers(known.get("mean")), _numbers(known.get("std"))
    both = mean is not None and std is not None
    share = float(share) if isinstance(share, int | float) and 0 < share <= 1 else None
    return NetworkInput(
        image_size=sides[1] if square and 8 <= sides[1] <= 2048 else None,
        mean=mean if both else None,
        std=std if both else None,
        interpolation=interpolation if interpolation in _INTERPOLATIONS else None,
        crop_share=share,
        fit="crop" if share is not None else None,
    )


def _numbers(values: Any) -> tuple[float, ...] | None:
    if not isinstance(values, list | tuple) or not values:
        return None
    if not all(isinstance(v, int | float) and 0 <= v <= 10 for v in values):
        return None
    return tuple(float(v) for v in values)


def _licence_of_card(path: Path) -> str | None:
    """Returns the licence in a model card's head; None where it states none."""
    try:
        text = read_regular(path).decode(errors="replace")
    except OSError:
        return None
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)\s*$", head[1], re.MULTILINE) if head else None
    return found[1].strip("'\"") if found else None
