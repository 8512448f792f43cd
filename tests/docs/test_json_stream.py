"""docs/json-stream.schema.json is what a training prints."""

import json
from pathlib import Path

import numpy as np
import pytest

from ravine.cli.main import main
from ravine.workflows.json_stream import TRAINING_ROWS, VERSION, stream_schema

DOCS = Path(__file__).parents[2] / "docs"


def test_the_schema_in_the_docs_is_that_of_the_code() -> None:
    assert json.loads((DOCS / "json-stream.schema.json").read_text()) == stream_schema(), (
        "run make schema"
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, own_cache: None) -> list[dict]:  # type: ignore[type-arg]
    """Returns what a training of noise with a budget prints, that plateaus."""
    place = tmp_path_factory.mktemp("stream")
    chance = np.random.default_rng(0)
    images, labels = chance.integers(0, 256, (120, 8, 8), np.uint8), np.arange(120) % 3
    np.savez(place / "noise.npz", x_train=images, y_train=labels)
    words = ["train", str(place / "noise.npz"), "--model", "wrn-10-1", "--epochs", "12", "--json"]
    words += ["--batch", "16", "--lr", "1e-6", "--out", str(place / "run"), "--quiet"]
    with pytest.MonkeyPatch.context() as patch, (place / "out").open("w+") as out:
        patch.setattr("sys.argv", ["ravine", *words])
        patch.setattr("sys.stdout", out)
        with pytest.raises(SystemExit):
            main()
        out.seek(0)
        return [json.loads(line) for line in out]


def test_every_line_fits_the_schema(rows: list[dict]) -> None:  # type: ignore[type-arg]
    for row in rows:
        TRAINING_ROWS.validate_python(row)
    kinds = [row["kind"] for row in rows]
    assert {"progress", "notice", "start", "epoch", "checkpoint", "result"} <= set(kinds)
    assert kinds[-1] == "result"


def test_the_stream_says_its_version_before_the_first_step(rows: list[dict]) -> None:  # type: ignore[type-arg]
    kinds = [row["kind"] for row in rows]
    start = rows[kinds.index("start")]
    assert start["version"] == VERSION
    assert kinds.index("start") < kinds.index("epoch")


def test_no_key_of_the_docs_is_only_in_the_docs(rows: list[dict]) -> None:  # type: ignore[type-arg]
    models = {name: schema["properties"] for name, schema in stream_schema()["$defs"].items()}
    for kind, model in (("start", "StreamStart"), ("epoch", "StreamEpoch")):
        row = next(row for row in rows if row["kind"] == kind)
        assert set(row) == set(models[model])
