"""The page of a race in a real browser: plays, scrubs, races anew, computes as Python does."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ravine.test_functions.candidates import parse_candidates
from ravine.test_functions.function_race import FunctionRace, race_on_function
from ravine.test_functions.javascript import NoJavaScript, gradient_source
from ravine.test_functions.problems import PROBLEMS, make_problem
from ravine.test_functions.rollout import rollout
from ravine.test_functions.rollout_page import function_page

_SPEC = importlib.util.spec_from_file_location("chromium", Path(__file__).parent / "chromium.py")
assert _SPEC is not None
assert _SPEC.loader is not None
chromium = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(chromium)

GENTLE = {
    "gd": 0.002,
    "momentum": 0.004,
    "nesterov": 0.004,
    "adagrad": 0.4,
    "rmsprop": 0.03,
    "adam": 0.1,
    "nadam": 0.1,
    "nadam(form=dozat,eps=0.01)": 0.05,
    "torch:SGD(momentum=0.5)": 0.001,
    "torch:AdamW(weight_decay=0.1)": 0.1,
    "torch:RMSprop": 0.02,
}
OPTIMIZERS = ",".join(GENTLE)


def raced(name: str, optimizers: str = OPTIMIZERS, **rates: float) -> FunctionRace:
    given = rates or GENTLE
    return race_on_function(
        make_problem(name), parse_candidates(optimizers, given), steps=80, starts=8
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if chromium.find_chromium() is None:
        pytest.skip("no chromium on this machine: the page is not tested in a browser")
    with chromium.Page("about:blank#", width=1280, height=1000) as page:
        yield page


def shown(browser: Any, folder: Path, race: FunctionRace) -> Any:
    file = folder / "race.html"
    file.write_text(function_page(race), encoding="utf-8")
    browser.errors.clear()
    browser.open(file.as_uri())
    browser.wait_for("window.race")
    return browser


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_browser_goes_where_python_goes(browser: Any, tmp_path: Path, name: str) -> None:
    everyone = name in ("beale", "moons")  # on the others the function is in question
    race = raced(name) if everyone else raced(name, "nesterov,adam", nesterov=0.004, adam=0.1)
    page = shown(browser, tmp_path, race)
    start = race.problem.draw_starts(1, "test", seed=9)

    assert page.errors == []
    assert "agree with Python's to" in page.run("document.getElementById('where').textContent")
    for index, result in enumerate(race.results):
        x, y = start[0].tolist()
        found = page.run(f"race.simulate({index}, [{x!r}, {y!r}], {result.lr!r})")
        points = rollout(
            race.problem, result.candidate, [{"lr": result.lr}], start, steps=80, seed=0
        )[:, 0, 0]
        assert torch.isfinite(points).all()
        assert found["x"] == pytest.approx(points[:, 0].tolist(), abs=1e-6, rel=1e-6)
        assert found["y"] == pytest.approx(points[:, 1].tolist(), abs=1e-6, rel=1e-6)
        losses = race.problem.values(points).tolist()
        assert found["loss"] == pytest.approx(losses, abs=1e-6, rel=1e-6)


def test_it_plays_scrubs_turns_and_a_click_starts_a_new_race(browser: Any, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, raced("beale"))

    page.wait_for("race.playing && race.at > 2")
    page.run("document.getElementById('play').click()")
    assert page.run("race.playing") is False
    page.run("scrub.value = 40; scrub.dispatchEvent(new Event('input'))")
    page.wait_for("document.getElementById('step').textContent === 'step 40 of 80'")
    before = page.run("race.lanes[5].x[40]")
    box = page.run("(r => [r.x, r.y, r.width, r.height])(map.getBoundingClientRect())")
    page.click(box[0] + 0.25 * box[2], box[1] + 0.25 * box[3])
    page.wait_for("race.playing")
    assert page.run("race.start") == pytest.approx([-2.25, 2.25], abs=0.05)
    assert page.run("race.lanes[5].x[0]") == page.run("race.start")[0]
    assert page.run("race.lanes[5].x[40]") != before
    page.run("race.goTo(80); document.getElementById('solid').click()")
    one = page.run("new Promise(requestAnimationFrame).then(() => map.toDataURL())")
    page.drag(box[0] + 300, box[1] + 200, box[0] + 420, box[1] + 230)
    two = page.run("new Promise(requestAnimationFrame).then(() => map.toDataURL())")
    assert one != two
    assert page.errors == []


def test_the_pixels_of_the_last_step_show_where_the_optimizer_stands(
    browser: Any, tmp_path: Path
) -> None:
    race = raced("beale", "adam", adam=0.1)
    page = shown(browser, tmp_path, race)
    page.run("race.goTo(80)")

    x, y = race.results[0].path[-1]
    page.wait_for("document.getElementById('step').textContent === 'step 80 of 80'")
    place = f"Math.round(toX({x})), Math.round(toY({y})), 1, 1"
    ink = page.run(f"[...pen.getImageData({place}).data].slice(0, 3)")
    assert ink == [0xB3, 0x4E, 0x00]  # adam has vermilion on every page


def test_a_rate_changed_by_hand_is_said_and_raced(browser: Any, tmp_path: Path) -> None:
    page = shown(browser, tmp_path, raced("himmelblau", "gd,adam", gd=0.01, adam=0.1))
    page.run("[...document.querySelectorAll('.knob')].find(k => k.textContent === '× 2').click()")

    assert page.run("race.lanes[0].rate") == 0.02
    assert "η 0.02, changed by hand" in page.run("document.body.textContent")
    race = race_on_function(
        make_problem("himmelblau"), parse_candidates("gd", {"gd": 0.02}), steps=80, starts=2
    )
    assert page.run("race.lanes[0].x[80]") == pytest.approx(race.results[0].path[-1, 0], abs=1e-6)


def test_one_that_diverges_is_shown_as_such(browser: Any, tmp_path: Path) -> None:
    race = raced("beale", "momentum,adam", momentum=1.0, adam=0.1)
    page = shown(browser, tmp_path, race)
    page.run("race.goTo(80)")
    page.wait_for("document.getElementById('lanes').textContent.includes('diverged at')")

    assert race.results[0].diverged_at is not None
    assert f"diverged at {race.results[0].diverged_at}" in page.run("document.body.textContent")
    assert page.errors == []


def test_without_javascript_the_nearest_start_is_taken_and_said(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "odd_function.py").write_text(
        "import torch\ndef f(x, y): return torch.erf(x) ** 2 + y ** 2\n"
    )
    race = raced("odd_function:f", "adam,torch:Rprop", **{"adam": 0.1, "torch:Rprop": 0.01})
    page = shown(browser, tmp_path, race)

    told = page.run("document.getElementById('where').textContent")
    assert "nearest of 50 starts run beforehand" in told
    assert "the function odd_function:f, torch:Rprop" in told
    page.run("race.raceFrom([4, 4])")
    start = page.run("race.start")
    assert start == [3.75, 3.75]
    points = rollout(
        race.problem,
        parse_candidates("adam")[0],
        [{"lr": 0.1}],
        torch.tensor([start]).double(),
        steps=80,
        seed=0,
    )
    assert page.run("race.lanes[0].x[80]") == pytest.approx(float(points[-1, 0, 0, 0]), rel=1e-4)


def test_the_page_is_one_file_without_a_word_of_the_net_and_small() -> None:
    page = function_page(raced("moons"))

    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
    assert len(page.encode()) < 3_000_000


def test_text_of_the_users_cannot_become_part_of_the_page(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nasty.py").write_text(
        "def f(x, y):\n"
        "    '''</script><script>window.broken = 1</script>'''\n"
        "    return x*x + y*y\n"
    )
    page = shown(browser, tmp_path, raced("nasty:f", "adam", adam=0.1))

    assert page.run("window.broken") is None
    assert "</script>" in page.run("document.getElementById('formula').textContent")


def test_what_has_no_javascript_is_refused_and_not_guessed() -> None:
    weights = torch.arange(3.0)

    with pytest.raises(NoJavaScript, match="erf"):
        gradient_source(lambda x, y: torch.erf(x) + y)
    with pytest.raises(NoJavaScript):
        gradient_source(lambda x, y: (x * weights).sum() + y)
    with pytest.raises(NoJavaScript):
        gradient_source(lambda x, y: x if x > 0 else y)


def test_all_numbers_on_the_page_are_those_of_the_race() -> None:
    race = raced("valley", "adam", adam=0.3)
    text = function_page(race).split("const data = ")[1].split(";\nconst code")[0]
    (result,) = json.loads(text)["lanes"]

    assert result["x"] == pytest.approx(race.results[0].path[:, 0].tolist(), rel=1e-9)
    assert result["loss"] == pytest.approx(race.results[0].losses.tolist(), rel=1e-7)
    assert result["table"]["share"] == race.results[0].statistics.share
