"""What a call from Python shows, and how a run, its findings and its surfaces show themselves."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ravine
from ravine.core.errors import DataError, SettingError
from ravine.core.events import EpochDone, Notice, TrainingStarted
from ravine.core.snapshot import LayerStatistics, Snapshot
from ravine.findings.finding import Finding, Findings
from ravine.findings.target_floor import expected_floor
from ravine.reports.contents import gather
from ravine.reports.live.run_feed import RunFeed
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_rows
from ravine.runs.surface import Surface
from ravine.workflows.race import Race
from ravine.workflows.run import Run
from ravine.workflows.screens import PlainLines, epoch_line, step_line
from ravine.workflows.show import NotebookScreen, showing

pytestmark = pytest.mark.usefixtures("own_cache")
SMALL = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "epochs": 6}


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = chance.integers(0, 60, (240, 8, 8), dtype=np.uint8)
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    path = tmp_path_factory.mktemp("stripes") / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ravine.train(stripes, out=tmp_path_factory.mktemp("run") / "run", show="none", **SMALL)


def test_a_call_from_a_program_prints_lines_and_the_notices_are_logged(
    stripes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="ravine")
    ravine.train(stripes, out=tmp_path / "run", **{**SMALL, "epochs": 0.5, "lr": 2.0})
    said = capsys.readouterr()

    assert said.out == ""
    assert "training wrn-10-1: " in said.err
    assert "epoch 0.4615" in said.err
    assert "learning rate 2, as given; lr=0.2 in torch.optim.SGD" in said.err
    assert "learning rate 2, as given; lr=0.2 in torch.optim.SGD" in caplog.messages


def test_none_shows_nothing_and_another_word_is_refused(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ravine.train(stripes, out=tmp_path / "run", show="none", **{**SMALL, "epochs": 0.1})
    said = capsys.readouterr()

    assert (said.out, said.err) == ("", "")
    with pytest.raises(SettingError, match="show must be one of auto, terminal, notebook"):
        ravine.train(stripes, out=tmp_path / "b", show="loud", **SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()
    with pytest.raises(SettingError, match="works in a notebook"), showing("notebook"):
        pass


def test_a_notebook_has_a_table_of_the_epochs_and_the_notices() -> None:
    shown: list[str] = []
    screen = NotebookScreen(shown.append)
    screen.observe(Notice(text="a < b", warning=True))
    screen.observe(
        TrainingStarted(step=0, total_steps=20, steps_per_epoch=10, batch=16, model="wrn-10-1")
    )
    screen.observe(
        EpochDone(
            epoch=1.0, step=10, total_steps=20, train_loss=0.5, train_accuracy=0.75,
            accuracy=0.8, interval=(0.7, 0.9), loss=0.4, elapsed=1.0, images_per_second=10.0,
        )
    )  # fmt: skip
    screen.progress("images", 3, 8)

    assert len(shown) == 4
    assert "a &lt; b" in shown[0]
    assert "<table>" not in shown[0]
    assert "training wrn-10-1: 20 steps of 16 images" in shown[1]
    assert "<td>0.500</td><td>75.00 %</td><td>80.00 % (70.0–90.0)</td>" in shown[2]
    assert "images: 3 of 8" in shown[3]


def test_a_training_loss_is_shown_above_the_floor_of_smoothed_labels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown: list[str] = []
    for screen in (NotebookScreen(shown.append), PlainLines()):
        screen.observe(
            TrainingStarted(
                step=0, total_steps=20, steps_per_epoch=10, batch=16, model="swift-1",
                loss_floor=0.867,
            )
        )  # fmt: skip
        screen.observe(
            EpochDone(
                epoch=1.0, step=10, total_steps=20, train_loss=1.005, train_accuracy=0.94,
                accuracy=0.915, interval=(0.9, 0.93), loss=0.413, elapsed=1.0,
                images_per_second=10.0, train_loss_floor=0.867,
            )
        )  # fmt: skip

    said = capsys.readouterr().out
    assert "above the least that smoothed and mixed labels allow, about 0.867" in said
    assert "loss 0.138  training 94.00 %" in said
    assert "loss 0.413" in said
    assert "<td>0.138</td>" in shown[-1]


def test_one_step_of_one_image_in_one_epoch_is_in_the_singular(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PlainLines().observe(
        TrainingStarted(step=0, total_steps=1, steps_per_epoch=1, batch=1, model="wrn-10-1")
    )

    assert capsys.readouterr().out == "training wrn-10-1: 1 step of 1 image, 1 epoch\n"


def test_the_floor_is_kept_and_taken_off_in_the_report(
    figures: None, stripes: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, "epochs": 1, "label_smoothing": 0.2}
    run = ravine.train(stripes, out=tmp_path / "run", show="none", **settings)
    floor = expected_floor(2, label_smoothing=0.2)

    contents = gather(run.path)

    assert contents.loss_floor == pytest.approx(floor)
    rows = [row for row in read_rows(run.path / "history.jsonl") if row["kind"] == "epoch"]
    assert contents.epochs[-1]["train_loss"] == pytest.approx(rows[-1]["train_loss"] - floor)
    assert contents.epochs[-1]["loss"] == rows[-1]["loss"]
    shown = f"{rows[-1]['train_loss'] - floor:.3f}"
    assert f"<td>{shown}</td>" in run._repr_html_()
    report = (run.path / "report.html").read_text()
    assert "the least that smoothed and mixed labels allow" in report


def test_the_floor_of_mixed_labels_is_that_of_the_same_steps(stripes: Path, tmp_path: Path) -> None:
    """A mean over all draws may lie above the loss of the few of an epoch."""
    settings = {**SMALL, "cutmix": 1.0, "augment": "none"}
    run = ravine.train(stripes, out=tmp_path / "run", show="none", **settings)

    rows = [row for row in read_rows(run.path / "history.jsonl") if row["kind"] == "epoch"]
    floors = [row["train_loss_floor"] for row in rows]
    assert max(floors) > min(floors) + 0.01
    assert np.mean(floors) == pytest.approx(expected_floor(2, cutmix=1.0), abs=0.15)
    feed = RunFeed(RunFolder(run.path))
    feed.advance()
    shown = [row["train_loss"] - row["train_loss_floor"] for row in rows]
    assert min(shown) > 0
    assert [row["train_loss"] for row in gather(run.path).epochs] == pytest.approx(shown)
    assert list(feed.epoch_column("train_loss")) == pytest.approx(shown)
    steps = gather(run.path).steps
    assert all(row["loss"] >= 0 for row in steps)


def test_a_run_says_what_it_is_in_a_line(run: Run) -> None:
    accuracy = f"{100 * run.result['accuracy']:.2f} %"

    assert repr(run).startswith("wrn-10-1 on ")
    assert accuracy in repr(run)
    assert accuracy in run._repr_html_()
    assert "chance is 50 %" in run._repr_html_()
    assert run._repr_html_().count("<tr>") == 6  # a head and five epochs


def test_a_run_without_a_result_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes((run.path / "recipe.toml").read_bytes())

    assert "no result yet, step 0" in repr(Run.load(tmp_path))


def test_epochs_and_steps_are_rows_and_a_frame_needs_pandas(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [row["epoch"] for row in run.epochs] == [1, 2, 3, 4, 5, 6]
    assert run.steps
    assert {row["kind"] for row in run.steps} == {"step"}
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(SettingError, match="pip install pandas"):
        run.frame()


def test_images_in_hand_are_predicted_as_files_are(run: Run, stripes: Path, tmp_path: Path) -> None:
    with np.load(stripes) as file:
        images, labels = file["images"][:12], file["labels"][:12]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    files = run.predict(sorted(tmp_path.glob("*.png")))
    arrays = run.predict(list(images))

    np.testing.assert_array_equal(arrays.probabilities, files.probabilities)
    assert arrays.labels == [str(label) for label in labels]
    assert run.predict(Image.fromarray(images[0])).labels == [str(labels[0])]
    with pytest.raises(DataError, match="not both"):
        run.predict([images[0], tmp_path / "00.png"])


def test_findings_surface_snapshot_and_race_show_themselves(tmp_path: Path) -> None:
    one = Finding(severity="warning", code="plateau", seen="x < y", cause="c", cure="d")
    nodes = np.ones((2, 3))
    surface = Surface(
        x=np.array([-1.0, 0, 1]), y=np.array([0.0, 1]), loss=nodes, standard_error=nodes,
        evaluated=nodes > 0, height=nodes, about={"along": "random", "policy": "running"},
    )  # fmt: skip
    snapshot = Snapshot(step=3, lr=0.1, layers={"a": LayerStatistics(kind="Conv2d", var=2.0)})

    assert repr(Findings((one,))) == str(one)
    assert "x &lt; y" in Findings((one,))._repr_html_()
    assert repr(surface).startswith("Surface(3×2, 6 of 6 nodes, along random, batch norm running")
    assert "<table>" in surface._repr_html_()
    assert repr(snapshot) == "Snapshot(step 3, lr 0.1, 1 layers, 0 parameters)"
    assert "Conv2d" in snapshot._repr_html_()
    assert repr(Race(tmp_path)) == f"race {tmp_path}: not ended"
    assert "not ended" in Race(tmp_path)._repr_html_()


_STEPS = {
    "step": 110,
    "loss": 0.493,
    "accuracy": 0.7656,
    "lr": 0.00523,
    "images_per_second": 12_700,
    "elapsed": 60.0,
}


def test_what_is_left_of_the_time_stays_in_a_narrow_line_of_steps() -> None:
    whole = step_line(_STEPS, 11_200)
    assert whole.endswith("lr 0.00523  12,700 images/s  left 1:40:49")
    for width in (40, 60, 80, len(whole) - 1):
        line = step_line(_STEPS, 11_200, width=width)
        assert len(line) <= width
        assert line.startswith("step 110/11,200  ")
        assert line.endswith("  left 1:40:49")
    assert "loss 0.493  training 76.56 %" in step_line(_STEPS, 11_200, width=70)


def test_the_accuracy_with_its_interval_stays_in_a_narrow_line_of_an_epoch() -> None:
    event = EpochDone(
        epoch=12.25,
        total_steps=200,
        step=100,
        train_loss=1.7,
        train_accuracy=0.1016,
        loss=2.496,
        accuracy=0.1032,
        interval=(0.095, 0.112),
        images_per_second=12_150.0,
        elapsed=4000.0,
    )
    kept = "validation 10.32 % (9.5–11.2) loss 2.496"
    assert len(epoch_line(event)) > 80
    line = epoch_line(event, width=80)
    assert len(line) <= 80
    assert line.startswith("epoch 12.25  ")
    assert kept in line
    assert line.endswith("1:06:40")
