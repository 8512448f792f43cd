"""The export of a run: its proof, what stands beside it, and the program without Ravine."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from huggingface_hub import ModelCard
from PIL import Image
from tests.exports.mixed_files import write_mixed_files

from ravine.core.errors import RunError, SettingError
from ravine.data.dataset import Preprocessing
from ravine.data.decode import decode, fit_square
from ravine.exports.facts import KEY, Facts
from ravine.exports.formats import FORMATS
from ravine.exports.program import program_text
from ravine.workflows.run import Run

pytestmark = pytest.mark.slow  # many seconds

# Runs a program, and says on standard error which modules it has loaded.
_WATCHED = """
import json, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def answers_of(
    program: Path, files: list[Path]
) -> tuple[dict[str, np.ndarray], list[str], set[str]]:
    """Returns probabilities by file name, the classes said, and the modules that were loaded."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(program), *map(str, files)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    rows = list(csv.reader(done.stdout.splitlines()))[1:]
    found = {Path(row[0]).name: np.array(row[3:], float) for row in rows}
    return found, [row[1] for row in rows], set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the run's export as ONNX, without its preprocessing."""
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    run.export(folder)
    return folder


def test_the_proof_covers_every_validation_image(run: Run, exported: Path) -> None:
    proof = json.loads((exported / "proof.json").read_text())

    assert proof["images"] == run.result["count"]
    assert proof["accuracy"]["value"] == pytest.approx(run.result["accuracy"])
    assert proof["exported_accuracy"] == proof["accuracy"]
    assert proof["differing"] == 0
    assert proof["bytes"] == (exported / "model.onnx").stat().st_size
    assert set(proof["latency"]) == {"1", "64"}


def test_the_metadata_say_classes_sizes_and_normalisation(run: Run, exported: Path) -> None:
    model = onnx.load(exported / "model.onnx")
    about = json.loads({row.key: row.value for row in model.metadata_props}[KEY])

    assert about["classes"] == ["across", "along", "no “stripes”"]
    assert about["input_shape"] == [3, 16, 16]
    assert about["preprocessing"]["mean"] == list(run.trained.preprocessing.mean)


def test_the_card_is_read_by_the_hubs_own_reader(run: Run, exported: Path) -> None:
    card = ModelCard.load(exported / "README.md")

    assert card.data.pipeline_tag == "image-classification"
    assert card.data.library_name == "onnx"
    (result,) = card.data.eval_results or ()
    assert result.metric_type == "accuracy"
    assert result.metric_value == pytest.approx(run.result["accuracy"], abs=1e-5)
    assert str(run.path) not in (exported / "README.md").read_text()


def test_the_program_gives_ravines_answers_without_ravine_or_torch(
    run: Run, exported: Path, tmp_path: Path
) -> None:
    files = write_mixed_files(tmp_path / "mixed", 54)

    found, classes, modules = answers_of(exported / "predict.py", files)

    wanted = run.predict(files, precision="float32")
    for name, probabilities in zip(wanted.names, wanted.probabilities, strict=True):
        np.testing.assert_allclose(found[Path(name).name], probabilities, atol=2e-5)
    assert len(found) == len(files)
    assert classes == wanted.labels
    assert not modules & {"torch", "ravine", "scipy", "onnx"}


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize(
    ("fit", "channels", "grey_range", "interpolation", "crop_share"),
    [
        ("pad", 1, None, "lanczos", 1.0),
        ("squash", 3, None, "bicubic", 1.0),
        ("crop", 1, (100.0, 9000.0), "lanczos", 1.0),
        ("crop", 3, None, "bilinear", 1.0),
        ("crop", 3, None, "bicubic", 0.875),  # as of a run that starts from timm's weights
    ],
)
def test_the_program_follows_each_preprocessing(
    fit: str,
    channels: int,
    grey_range: tuple[float, float] | None,
    interpolation: str,
    crop_share: float,
    inside: bool,
    tmp_path: Path,
) -> None:
    """The decoded pixels are those of Ravine's own decoder, to the bit."""
    made = Preprocessing(
        image_size=12, channels=channels, mean=(0.4,) * channels, std=(0.3,) * channels,
        fit=fit, grey_range=grey_range, interpolation=interpolation, crop_share=crop_share,
    )  # fmt: skip
    facts = Facts(
        network="wrn-10-1", classes=("a", "b"), input_shape=(channels, 12, 12),
        preprocessing=made, inside=inside,
    )  # fmt: skip
    text = program_text(facts, "onnx")
    decoder = text[text.index("S = 12") : text.index("rows = ")]
    names: dict[str, object] = {}
    exec(
        "import contextlib\nimport sys\nimport numpy as np\nfrom PIL import Image, ImageOps\n"
        + decoder,
        names,
    )

    for file in write_mixed_files(tmp_path / "mixed", 36):
        wanted = decode(file.read_bytes(), channels, draft=12, grey_range=grey_range)
        with Image.open(file) as image:
            pixels = names["decode"](image)  # type: ignore[operator]
        found = pixels.reshape(12, 12, channels)
        square = fit_square(
            wanted.pixels, 12, fit, interpolation=interpolation, crop_share=crop_share
        )
        np.testing.assert_array_equal(found, square, str(file))


def test_the_program_is_twenty_lines_and_not_many_more(exported: Path) -> None:
    lines = (exported / "predict.py").read_text().splitlines()

    assert len(lines) <= 27


@pytest.mark.parametrize("format_name", ["onnx", "pt2"])
def test_with_preprocessing_the_file_takes_bytes_and_gives_probabilities(
    format_name: str, run: Run, tmp_path: Path
) -> None:
    proof = run.export(tmp_path / "out", format=format_name, with_preprocessing=True)
    files = write_mixed_files(tmp_path / "mixed", 18)

    found, _, _ = answers_of(tmp_path / "out" / "predict.py", files)

    assert proof.largest_difference < 1e-5
    wanted = run.predict(files, precision="float32")
    for name, probabilities in zip(wanted.names, wanted.probabilities, strict=True):
        np.testing.assert_allclose(found[Path(name).name], probabilities, atol=2e-5)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_the_program_refuses_by_name_what_it_cannot_decode(
    mode: str, exported: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((9, 9), 0.5)).convert(mode).save(tmp_path / "deep.tif")

    with pytest.raises(subprocess.CalledProcessError) as end:
        answers_of(exported / "predict.py", [tmp_path / "deep.tif"])

    assert f"deep.tif (TIFF {mode}): ravine predict reads it" in end.value.stderr


def test_other_images_prove_it_too(run: Run, pictures: Path, tmp_path: Path) -> None:
    proof = run.export(tmp_path / "out", format="pt2", data=pictures)

    assert (proof.images, proof.source) == (90, str(pictures))


def test_without_validation_images_it_says_what_to_name(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((run.path / "model.safetensors").read_bytes())

    with pytest.raises(RunError, match=r"no recipe.toml; name labelled images: --data"):
        Run.load(alone).export(tmp_path / "out")


def test_timm_has_no_wide_resnet_of_this_form(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("timm")

    with pytest.raises(SettingError, match="timm has no network like wrn-10-1"):
        run.export(tmp_path / "out", format="safetensors-timm")


def test_weights_alone_take_no_preprocessing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ravine.exports.needed_module.find_spec", lambda _: True)

    with pytest.raises(SettingError, match="drop --with-preprocessing"):
        run.export(tmp_path / "out", format="safetensors-timm", with_preprocessing=True)


def test_a_path_that_is_a_file_is_refused_with_a_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"an export is a folder; write .*/net$"):
        run.export(tmp_path / "net.onnx")


@pytest.mark.parametrize("format_name", sorted(FORMATS))
def test_every_format_has_its_install_line(format_name: str) -> None:
    row = FORMATS[format_name]

    assert bool(row.modules) == bool(row.extra)
