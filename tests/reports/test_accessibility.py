"""Every kind of page under axe-core: nothing serious or critical, wide, narrow, light, dark."""

import json
import shutil
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ravine.reports.evaluation_page import render_evaluation
from ravine.reports.page import _drawings, render_report
from ravine.reports.race_page import race_page
from ravine.reports.surface_figures import draw_surfaces
from ravine.test_functions.candidates import parse_candidates
from ravine.test_functions.function_race import race_on_function
from ravine.test_functions.problems import make_problem
from ravine.test_functions.rollout_page import function_page

from .conftest import make_run, serving
from .test_race_page import results
from .test_surfaces import surface

pytestmark = pytest.mark.slow  # many seconds

KINDS = ("report", "evaluation", "race", "function race", "surface", "live page")
VIEWS = ((1400, False), (1400, True), (420, False), (420, True))  # pixels, dark
DRAWINGS = _drawings  # which the other tests leave out
FAULTS = """axe.run(document, { resultTypes: ["violations"] }).then(found => found.violations
  .filter(one => ["serious", "critical"].includes(one.impact))
  .map(one => `${one.id}: ${one.nodes.map(node => node.target.join(" ")).join(", ")}`))"""


@pytest.fixture(scope="module")
def axe() -> str:
    """Returns the source of axe-core; `make setup` installs the package that carries it."""
    found = find_spec("axe_playwright_python")
    assert found is not None, "make setup installs axe-playwright-python"
    assert found.submodule_search_locations is not None
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of a run with a report."""
    path = make_run(tmp_path_factory.mktemp("runs") / "a-run", 200, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ravine.reports.page._drawings", DRAWINGS)
        render_report(path)
    return path


@pytest.fixture(scope="module")
def addresses(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Gives the address of a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    kept = folder / "evaluation"
    kept.mkdir()
    shutil.copy(run / "evaluation.json", kept)
    (folder / "race.html").write_text(race_page(results(None)))
    gentle = {"momentum": 0.004, "adam": 0.1}
    raced = race_on_function(
        make_problem("beale"), parse_candidates(",".join(gentle), gentle), steps=40, starts=4
    )
    (folder / "function.html").write_text(function_page(raced))
    files = {
        "report": run / "report.html",
        "evaluation": render_evaluation(kept),
        "race": folder / "race.html",
        "function race": folder / "function.html",
        "surface": draw_surfaces([surface()], folder / "surface", title="a run")[-1],
    }
    with serving(run.parent) as port:
        found = {kind: path.as_uri() for kind, path in files.items()}
        yield {**found, "live page": f"http://127.0.0.1:{port}/#run=a-run"}


def show(page: Any, address: str) -> None:
    """Opens a page anew."""
    path, _, place = address.partition("#")
    page.open(f"{path}?{time.monotonic()}" + (f"#{place}" if place else ""))
    page.wait("document.body.innerText.length > 100")


def test_a_page_that_goes_to_another_place_by_itself_is_open(page: Any, tmp_path: Path) -> None:
    moves = tmp_path / "moves.html"
    moves.write_text("<script>history.replaceState(null, '', '#run=a')</script>" + "letters " * 20)
    show(page, moves.as_uri())

    assert page.value("location.hash") == "#run=a"


def test_a_page_that_is_not_there_is_an_error_and_not_a_wait(page: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"none\.html.*ERR_FILE_NOT_FOUND"):
        show(page, (tmp_path / "none.html").as_uri())


@pytest.mark.parametrize("kind", KINDS)
def test_axe_finds_nothing_serious(
    page: Any, axe: str, addresses: dict[str, str], kind: str
) -> None:
    found = {}
    for width, dark in VIEWS:
        page.errors.clear()
        page.size(width, 900, dark=dark)
        show(page, addresses[kind])
        page.value(f"{axe};0")
        found[width, dark] = [*page.value(FAULTS), *page.errors]

    assert found == {view: [] for view in VIEWS}


LETTERS = """[...document.querySelectorAll('svg text, svg tspan')]
  .filter(one => one.textContent.trim()
  && one.getClientRects().length).map(one => { const m = one.getScreenCTM?.()
    ?? one.ownerSVGElement.getScreenCTM(); return [parseFloat(getComputedStyle(one).fontSize)
    * Math.hypot(m.a, m.b), one.textContent.trim()]; }).filter(([size]) => size < 10)"""
OUTSIDE = """[...document.querySelectorAll('main *')].filter(one => {
  const box = one.getBoundingClientRect(), scrolls = one.closest('.scroll, .figure, pre');
  return box.width && (box.right > innerWidth + 1 || box.left < -1)
    && !(scrolls && scrolls !== one && getComputedStyle(scrolls).overflowX === 'auto');
}).map(one => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("kind", ["report", "evaluation", "race"])
def test_on_a_phone_letters_are_large_and_what_is_wide_scrolls_in_itself(
    page: Any, addresses: dict[str, str], kind: str
) -> None:
    page.size(420, 900)
    show(page, addresses[kind])

    assert page.value(LETTERS) == []
    assert page.value(OUTSIDE) == []


WRITTEN = """(() => {
  const calls = [], pen = CanvasRenderingContext2D.prototype, write = pen.fillText, fill = pen.fill;
  pen.fillText = function (text, x, y) { calls.push([text, y]); write.call(this, text, x, y); };
  pen.fill = function () { calls.push(["", 0]); fill.call(this); };
  draw();
  pen.fillText = write; pen.fill = fill;
  return { calls, captions: data.surfaces[0].labels, tall: canvas.clientHeight,
    floor: [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => project(a, b, floor)[1]) };
})()"""


def test_on_a_phone_the_axes_of_a_surface_are_named_below_it(
    page: Any, addresses: dict[str, str]
) -> None:
    page.size(420, 900)
    show(page, addresses["surface"])
    page.value("data.surfaces[0].labels = ['component 1, 95.8 % of length', 'component 2, 3 %']; 0")
    found = page.value(WRITTEN)

    written = [(text, y) for text, y in found["calls"] if text]
    captions = [(text, y) for text, y in written if any(c in text for c in found["captions"])]
    assert len(captions) == 2
    assert min(y for _, y in captions) > max(found["floor"])
    assert max(y for _, y in captions) < found["tall"]


def test_the_table_of_runs_fits_a_wide_page(page: Any, tmp_path: Path) -> None:
    make_run(tmp_path / "fashion-mnist-wrn-16-4-1", 20_000, ended=False)
    page.size(1400, 900)
    with serving(tmp_path) as port:
        show(page, f"http://127.0.0.1:{port}/")
        page.wait("document.querySelectorAll('#runs tbody tr').length > 0")
        beyond = "(t => t.scrollWidth - t.clientWidth)(document.querySelector('.table'))"

        assert page.value(beyond) <= 1


CURVES = "document.querySelector('#curves .chart canvas')"
SAID = "document.querySelector('#curves .readout').textContent"


def test_a_figure_of_a_report_is_read_by_pointer_and_by_keys(
    page: Any, addresses: dict[str, str]
) -> None:
    page.size(1400, 900)
    show(page, addresses["report"])
    svg = "document.querySelector('#inside svg[data-readings]')"
    panel = json.loads(page.value(f"{svg}.dataset.readings"))[0]
    median = next(line for line in panel["lines"] if line["name"] == "median")
    page.value(f"{svg}.focus()")
    page.key("ArrowRight")
    page.key("ArrowRight")
    said = "document.querySelector('#inside svg[data-readings] ~ .reading').textContent"
    by_keys = page.value(said)
    page.value(f"""(() => {{
      const svg = {svg}, circle = svg.querySelector('circle');
      const at = circle.getBoundingClientRect();
      svg.dispatchEvent(new PointerEvent('pointermove', {{
        clientX: at.x + at.width / 2, clientY: at.y + at.height / 2, bubbles: true }}));
    }})()""")

    assert f"median {median['y'][1]:.4g}" in by_keys
    assert page.value(said) == by_keys


@pytest.mark.parametrize(
    ("axis", "place"), [("step", "step 200"), ("epoch", "epoch 20"), ("elapsed", "0:20")]
)
def test_the_curves_of_a_report_stand_against_step_epoch_or_time(
    page: Any, addresses: dict[str, str], run: Path, axis: str, place: str
) -> None:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["kind"] == "epoch"][-1]
    page.size(1400, 900)
    show(page, addresses["report"])
    page.value(f"""(() => {{
      const choice = document.querySelector('#curves select');
      choice.value = {json.dumps(axis)};
      choice.dispatchEvent(new Event('change'));
    }})()""")
    page.wait(f"{CURVES}.getAttribute('aria-label').includes('against {axis}')")
    page.value(f"{CURVES}.focus()")
    for _ in range(51):  # a fiftieth of the width each
        page.key("ArrowRight")
    page.wait(f"{SAID}.startsWith({json.dumps(place)})")  # the last of the keys is drawn

    read = page.value(SAID)
    assert f"training {last['train_loss']:.4g}, validation {last['loss']:.4g}" in read


def test_the_loss_of_a_report_has_a_logarithmic_scale_on_request(
    page: Any, addresses: dict[str, str]
) -> None:
    show(page, addresses["report"])
    picture = f"{CURVES}.toDataURL()"
    page.wait(f"{CURVES}.width > 0")
    before = page.value(f"new Promise(done => setTimeout(() => done({picture}), 300))")
    page.value("document.querySelector('#curves .chart button').click()")
    pressed = "document.querySelector('#curves .chart button').getAttribute('aria-pressed')"

    page.wait(f"{picture} !== {json.dumps(before)}")
    assert page.value(pressed) == "true"


def test_the_curves_of_a_race_are_those_of_its_results(
    page: Any, addresses: dict[str, str]
) -> None:
    show(page, addresses["race"])
    labels = "[...document.querySelectorAll('#curves canvas')].map(c => c.ariaLabel)"
    page.wait(f"{labels}.every(text => text?.includes('against step'))")
    loss, accuracy = page.value(labels)

    assert "a 1, b 1" in loss
    assert "a 70 %, b 70 %, target 60 %" in accuracy


def test_on_paper_the_curves_are_drawings(page: Any, addresses: dict[str, str]) -> None:
    show(page, addresses["report"])
    shown = """['#drawn-curves svg', '#curves .chart canvas'].map(
      one => document.querySelector(one).getBoundingClientRect().height > 0)"""
    on_screen = page.value(shown)
    page.send("Emulation.setEmulatedMedia", media="print")
    on_paper = page.value(shown)
    page.send("Emulation.setEmulatedMedia", media="")

    assert (on_screen, on_paper) == ([False, True], [True, False])
