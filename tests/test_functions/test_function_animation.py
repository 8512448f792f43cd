"""The animation: its last frame is where the optimizers themselves stand; files are real."""

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ravine.cli.race_function import race_function
from ravine.core.errors import RavineError, SettingError
from ravine.optim import Adam, Momentum
from ravine.test_functions.animation import Picture, shown_steps, write_animation
from ravine.test_functions.candidates import parse_candidates
from ravine.test_functions.function_race import race_on_function
from ravine.test_functions.height_map import colours
from ravine.test_functions.learning_rate_search import SearchBudget
from ravine.test_functions.problems import make_problem
from ravine.workflows import race_function as workflow

RATES = {"momentum": 0.01, "adam": 0.3}


def small_race(**rates: float):  # type: ignore[no-untyped-def]
    field = parse_candidates(",".join(rates), rates)
    return race_on_function(make_problem("himmelblau"), field, steps=40, starts=6)


def test_the_last_frame_shows_the_optimizers_own_state() -> None:
    race = small_race(**RATES)
    picture = Picture(race)
    pixels = picture.frame(40)

    for index, (kind, lr) in enumerate(((Momentum, 0.01), (Adam, 0.3))):
        x, y = race.problem.start
        w = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))
        optimizer = kind([w], lr=lr)
        for _ in range(40):
            optimizer.zero_grad()
            ((w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2).backward()
            optimizer.step()
        head, path = picture.heads[index], picture.paths[index]
        assert head.get_xydata()[0] == pytest.approx(w.detach().numpy(), abs=1e-9)
        assert path.get_xydata()[-1] == pytest.approx(w.detach().numpy(), abs=1e-9)
        assert len(path.get_xydata()) == 41
        # And on the pixels: the middle of the head has the candidate's colour.
        column, row = head.axes.transData.transform(w.detach().numpy())
        ink = pixels[pixels.shape[0] - 1 - int(row), int(column)]
        assert bytes(ink.tolist()).hex() == colours(race)[index][1:]


def test_a_frame_in_the_middle_shows_no_later_step() -> None:
    race = small_race(**RATES)
    picture = Picture(race)
    picture.frame(40)
    picture.frame(7)

    assert np.array_equal(picture.paths[1].get_xydata(), race.results[1].path[:8])


def test_one_that_diverged_stops_at_its_last_finite_place_with_a_cross() -> None:
    race = small_race(momentum=3.0, adam=0.3)
    picture = Picture(race)
    picture.frame(40)
    ended = race.results[0].diverged_at

    assert ended is not None
    assert len(picture.paths[0].get_xydata()) == ended
    assert (picture.heads[0].get_marker(), picture.heads[1].get_marker()) == ("X", "o")


@pytest.mark.parametrize("steps", [1, 2, 95, 96, 300, 5000])
def test_every_animation_starts_at_the_start_and_ends_at_the_end(steps: int) -> None:
    shown = shown_steps(steps)

    assert shown[0] == 0
    assert shown[-1] == steps
    assert shown == sorted(set(shown))
    assert len(shown) <= 97


@pytest.mark.slow
def test_gif_and_mp4_play_and_end_on_the_last_frame(tmp_path: Path) -> None:
    race = small_race(**RATES)
    write_animation(race, tmp_path / "race.gif", tmp_path / "race.mp4")
    last = Picture(race).frame(40).astype(int)

    with Image.open(tmp_path / "race.gif") as gif:
        assert gif.n_frames == len(shown_steps(40))
        gif.seek(gif.n_frames - 1)
        assert np.abs(np.asarray(gif.convert("RGB")).astype(int) - last).mean() < 3
    tool = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(tmp_path / "race.mp4")]
    raw = subprocess.run([*tool, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True)
    decoded = np.frombuffer(raw.stdout[-last.size :], np.uint8).reshape(last.shape).astype(int)
    assert np.abs(decoded - last).mean() < 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["race.gif", "race.mp4"]


def test_every_candidate_keeps_its_own_colour_in_the_gif(tmp_path: Path) -> None:
    race = small_race(gd=0.01, momentum=0.005, adagrad=0.5, rmsprop=0.05, adam=0.3, nadam=0.2)
    write_animation(race, tmp_path / "race.gif")

    with Image.open(tmp_path / "race.gif") as gif:
        gif.seek(gif.n_frames - 1)
        pixels = np.asarray(gif.convert("RGB")).reshape(-1, 3)
    for colour in colours(race):
        ink = bytes.fromhex(colour[1:])
        assert (pixels == list(ink)).all(axis=1).sum() > 20, colour
    assert (pixels == [0xFF, 0xD2, 0x3F]).all(axis=1).sum() > 20  # the stars of the minima


def test_the_command_writes_page_animation_and_numbers_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    race_function(
        "quadratic",
        optimizers="gd,adam,torch:SGD",
        learning_rates="gd=0.03",
        steps=60,
        starts=10,
        trials=7,
        out=tmp_path / "new" / "race",
        quiet=True,
    )
    printed = capsys.readouterr().out
    numbers = json.loads((tmp_path / "new/race/results.json").read_text())

    assert "60 steps, exact gradients, nothing clipped; best of 7 learning rates" in printed
    assert "gd: η 0.03, γ 0: convergence rate measured 0.97000, in theory 0.97000" in printed
    assert {path.name for path in (tmp_path / "new/race").iterdir()} == {
        "race.html",
        "race.gif",
        "results.json",
    }
    gd, adam, _ = numbers["optimizers"]
    assert (gd["lr"], gd["lr_from"], adam["lr_from"]) == (0.03, "the user", "search")
    # x shrinks by 1 − 0.03 and y by 1 − 1.2 in each step.
    assert gd["path"][-1] == pytest.approx([-9 * 0.97**60, 1.5 * (-0.2) ** 60])
    assert len(adam["search"]["trials"]) == 7


def test_all_of_it_again_with_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        race_function(
            "moons", optimizers="adam", steps=20, starts=5, trials=3, out=tmp_path / name, json=True
        )

    for file in ("results.json", "race.html", "race.gif"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "1"}, "--start '1' is not x,y"),
        ({"start": "7,0"}, r"start \(7, 0\) is outside"),
        ({"domain": "2:1,0:1"}, "--domain '2:1,0:1' is not x from:to,y from:to"),
        ({"domain": "-1:1"}, "is not x from:to,y from:to"),
        ({"trials": 1}, "trials must be in"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        race_function("beale", optimizers="adam", out=tmp_path / "race", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "race").exists()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RavineError, match="a part of the path is a file"):
        race_function(
            "beale",
            learning_rates="adam=0.1",
            optimizers="adam",
            steps=2,
            starts=2,
            out=tmp_path / "file/race",
        )


def test_an_mp4_without_what_writes_it_is_refused_before_the_race(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ravine.workflows.race_function.find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"pip install 'ravine\[video\]'"):
        workflow.race_function(
            make_problem("beale"),
            parse_candidates("adam", {}),
            steps=1,
            start=None,
            starts=1,
            budget=SearchBudget(),
            seed=0,
            out=tmp_path / "race",
            mp4=True,
        )
    assert not (tmp_path / "race").exists()
