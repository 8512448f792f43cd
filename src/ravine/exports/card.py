"""README.md: a model card with the metadata that the hub reads.

https://huggingface.co/docs/hub/model-cards: YAML between two lines of `---`, then Markdown. Every
value is written as JSON, which is YAML, so that no name of a class can break the block.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from ravine.data.dataset import Preprocessing
from ravine.exports.facts import Facts
from ravine.exports.formats import ExportFormat
from ravine.exports.proof import Proof

_NAMED = 20  # classes in the text


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What a card says besides the facts of the file.

    Attributes:
        name: of the model.
        data: name of the data set, without its path; "" where it is not known.
        result: evaluation.json of the run; empty where there is none.
        training: settings of the training that matter to a reader, as text by name.
        license: as the hub names it; "" for none given.
    """

    name: str
    data: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    license: str = ""


def card_text(facts: Facts, about: CardFacts, proofs: Mapping[str, Proof], *, library: str) -> str:
    """Returns the text of README.md.

    Args:
        facts: of the network.
        about: its training and its result.
        proofs: of the exported files, by the path of the file in the folder.
        library: that loads the model, as the hub names it: ravine, onnx, openvino, timm, pytorch.
    """
    parts = [
        _metadata(facts, about, tags=[library, *sorted({p.format for p in proofs.values()})]),
        f"# {about.name}\n",
        f"{_opening(facts, about)}\n",
        _result(about.result),
        _input(facts),
        _files(proofs),
        _training(about.training),
    ]
    return "\n".join(part for part in parts if part)


def card_of(facts: Facts, about: CardFacts, row: ExportFormat) -> Callable[[Proof], str]:
    """Returns what makes the card of one exported file from its proof."""

    def card(proof: Proof) -> str:
        return card_text(facts, about, {row.file: proof}, library=row.library)

    return card


def _metadata(facts: Facts, about: CardFacts, *, tags: Sequence[str]) -> str:
    values: dict[str, Any] = {"library_name": tags[0], "pipeline_tag": "image-classification"}
    values["tags"] = list(dict.fromkeys(["image-classification", "ravine", *tags, facts.network]))
    if about.license:
        values["license"] = about.license
    if about.result:
        values["metrics"] = ["accuracy"]
        values["model-index"] = [_index(about)]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---", ""])


def _index(about: CardFacts) -> dict[str, Any]:
    """Returns the row of the hub's model index: the accuracy on one split."""
    metric = {"type": "accuracy", "value": round(float(about.result["accuracy"]), 6)}
    dataset = {"name": about.data or "own", "type": "image-folder"}
    task = {"type": "image-classification"}
    split = str(about.result.get("split", ""))
    return {
        "name": about.name,
        "results": [{"task": task, "dataset": dataset | {"split": split}, "metrics": [metric]}],
    }


def _opening(facts: Facts, about: CardFacts) -> str:
    count = len(facts.classes)
    named = ", ".join(facts.classes[:_NAMED]) + (", …" if count > _NAMED else "")
    trained = f", trained on {about.data}" if about.data else ""
    return f"{facts.network}{trained}: {count} classes ({named})."


def _result(result: Mapping[str, Any]) -> str:
    if not result:
        return ""
    low, high = result["interval"]
    return (
        f"Accuracy {100 * result['accuracy']:.2f} % (95 % interval {100 * low:.2f} to "
        f"{100 * high:.2f}) on {result['count']:,} images ({result['split']}).\n"
    )


def _input(facts: Facts) -> str:
    shape, made = "×".join(map(str, facts.input_shape)), facts.preprocessing
    lines = ["## Input\n", f"Images of {shape} (channels, height, width)."]
    if made is not None:
        lines.append(
            f"A picture becomes square by {made.interpolation}: {_square(made)}. Values in 0 to 1, "
            f"minus mean {_numbers(made.mean)}, over deviation {_numbers(made.std)}."
        )
    if facts.inside:
        lines.append("The file takes bytes (N, height, width, channels) and gives probabilities.")
    return "\n".join(lines) + "\n"


def _square(made: Preprocessing) -> str:
    """Returns how a picture becomes square, in a clause."""
    of = f" of {made.crop_share:.4g} of the shorter side" if made.crop_share < 1 else ""
    return {
        "crop": f"the middle square{of} is cut out and resized",
        "pad": "the longer side is resized, black added",
        "squash": "each side is resized",
    }[made.fit]


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _files(proofs: Mapping[str, Proof]) -> str:
    if not proofs:
        return ""
    lines = ["## Files\n", "| file | run by | differs by at most | accuracy | images |"]
    lines.append("|---|---|---|---|---|")
    for path, proof in proofs.items():
        accuracy = proof.exported_accuracy
        share = f"{100 * accuracy.value:.2f} %" if accuracy else "–"
        lines.append(
            f"| `{path}` | {proof.runtime} | {proof.largest_difference:.1e} | {share} | "
            f"{proof.images:,} |"
        )
    return "\n".join([*lines, "", "Each was run beside the network it came from: proof.json.", ""])


def _training(training: Mapping[str, str]) -> str:
    if not training:
        return ""
    rows = [f"- {name}: {value}" for name, value in training.items()]
    return "\n".join(["## Training\n", *rows, ""])
