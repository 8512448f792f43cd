"""What `ravine export` prints: the proof in a few lines."""

from pathlib import Path

from ravine.exports.formats import FORMATS
from ravine.exports.latency import Latency
from ravine.exports.proof import Accuracy, Proof
from ravine.exports.proved import PROGRAM
from ravine.workflows.screens import share

_MEGABYTE = 1e6


def lines_of(folder: Path, proof: Proof) -> list[str]:
    """Returns the lines about an export that was kept."""
    lines = [
        f"{folder / FORMATS[proof.format].file}  {proof.bytes / _MEGABYTE:.2f} MB, run by "
        f"{proof.runtime}",
        _decisions(proof),
    ]
    own, exported = proof.accuracy, proof.exported_accuracy
    if own and exported:
        lines.append(f"accuracy: network {_share(own)}, file {_share(exported)}")
    if proof.most_lost is not None and proof.lost is not None:
        loss, (low, high) = proof.lost
        lines.append(
            f"int8 loses {100 * loss:.2f} points of accuracy (95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f}); {100 * proof.most_lost:g} are allowed"
        )
    lines += [_times(count, found, proof.threads) for count, found in proof.latency.items()]
    if proof.folded_norms:
        lines.append(f"{proof.folded_norms} norms are folded into convolutions")
    lines += proof.notes
    if (folder / PROGRAM).is_file():
        lines.append(f"without Ravine: python {folder / PROGRAM} IMAGE ...")
    return lines


def _decisions(proof: Proof) -> str:
    same = proof.images - proof.differing
    allowed = "" if proof.tolerance is None else f", {proof.tolerance:g} is allowed"
    return (
        f"the same decision on {same:,} of {proof.images:,} images ({proof.source}); probabilities "
        f"differ by at most {proof.largest_difference:.2g}{allowed}"
    )


def _share(accuracy: Accuracy) -> str:
    return share(accuracy.value, accuracy.interval)


def _times(count: str, found: Latency, threads: int) -> str:
    """Returns the line about the times for so many images at a time."""
    names = {"network": "network", "float32": "float32 file", "exported": "file"}
    each = ", ".join(f"{names[name]} {ms:.2f} ms" for name, ms in found.milliseconds.items())
    ratios = "; ".join(
        f"{median:.2f} times as fast as the {names[name]} ({low:.2f} to {high:.2f})"
        for name, (median, low, high) in found.times_faster.items()
    )
    images = "1 image" if count == "1" else f"{count} images"
    return f"{images} on {threads} thread{'s' if threads > 1 else ''}: {each}: {ratios}"
