"""The live page in headless Chromium: it draws, follows, asks nobody else, and escapes names."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ravine.runs.rows import append_row

from .conftest import make_run, serving

INKED = """(() => {
  const canvas = document.querySelector('#charts canvas');
  if (!canvas.width) return 0;
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let k = 3; k < data.length; k += 4) count += data[k] > 0;
  return count;
})()"""
NAMES = "[...document.querySelectorAll('#runs td button')]"
SHOWN = f"{NAMES}.map(b => b.textContent)"
FILTER = """{
  const filter = document.querySelector('#filter');
  filter.value = 'overfit';
  filter.dispatchEvent(new Event('input'));
}"""
WIDTHS = "[...document.querySelectorAll('#charts canvas')].map(c => c.clientWidth)"
FIRST = "document.querySelector('#charts canvas')"


def show(page: Any, port: int, place: str = "") -> None:
    """Opens the page and waits for its first picture."""
    page.errors.clear()
    page.requests.clear()
    page.size(1400, 1000)
    page.open(f"http://127.0.0.1:{port}/?{time.monotonic()}{place}")
    page.wait("document.querySelectorAll('#runs tbody tr').length > 0")


def inked(page: Any) -> int:
    """Returns how many pixels of the first chart are not empty."""
    found: int = page.value(INKED)
    return found


def test_the_first_run_is_drawn_without_errors_or_requests_elsewhere(page: Any, port: int) -> None:
    show(page, port, "#run=ended")
    page.wait("document.querySelector('#findings').textContent.includes('overfitting')")
    page.wait("document.querySelectorAll('#heats .chart:not([hidden])').length === 4")

    assert inked(page) > 2000
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith(f"http://127.0.0.1:{port}/")] == []


def test_a_name_with_markup_is_text(page: Any, port: int) -> None:
    show(page, port)
    names = page.value(SHOWN)

    assert "<img src=x onerror=alert(1)>" in names
    assert page.value("document.querySelectorAll('#runs img').length") == 0
    page.value(f"{NAMES}.find(b => b.textContent[0] === '<').click()")
    page.wait("document.querySelector('#run-name').textContent.startsWith('<img')")
    assert page.errors == []


def test_the_table_sorts_and_filters(page: Any, port: int) -> None:
    show(page, port)
    page.value("document.querySelector('#runs th button').click()")
    assert page.value(SHOWN) == ["<img src=x onerror=alert(1)>", "ended", "killed"]
    page.value("document.querySelector('#runs th button').click()")
    assert page.value(SHOWN) == ["killed", "ended", "<img src=x onerror=alert(1)>"]
    page.value(FILTER)
    assert "ended" in page.value(SHOWN)
    assert "killed" not in page.value(SHOWN)


def test_a_killed_run_says_so(page: Any, port: int) -> None:
    show(page, port, "#run=killed")
    page.wait("document.querySelector('#run-line').textContent.includes('killed, at step 300')")
    assert "ravine resume runs/killed" in page.value(
        "document.querySelector('#run-line').textContent"
    )


def test_a_run_that_is_not_there_is_said_and_not_asked_for_again(page: Any, port: int) -> None:
    show(page, port, "#run=gone")
    page.wait("document.querySelector('#run-line').textContent.includes('no run of this name')")
    page.requests.clear()
    page.value("new Promise(done => setTimeout(done, 600))")

    assert [url for url in page.requests if "gone" in url] == []
    page.value("location.hash = '#run=ended'")
    page.wait("document.querySelector('#run-line').textContent.startsWith('Ended')")
    assert page.value("document.querySelector('#run-name').textContent") == "ended"
    assert page.errors == []


def test_runs_laid_over_each_other_name_what_differs(page: Any, port: int) -> None:
    show(page, port, "#run=ended&with=ended&with=killed")
    page.wait("document.querySelector('#differences table') !== null")
    text = page.value("document.querySelector('#differences').textContent")

    assert "optimizer" in text
    assert "adam" in text
    assert page.errors == []


def test_a_run_grows_on_the_page_while_it_is_written(page: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "growing", 100, ended=False)
    with serving(tmp_path / "runs") as port:
        show(page, port, "#run=growing")
        page.wait("document.querySelector('#run-line').textContent.includes('step 100')")
        row = {"kind": "step", "step": 101, "epoch": 20.2, "loss": 0.5, "elapsed": 11.0}
        finding = {"severity": "critical", "code": "diverged", "step": 90, "found": 101}
        threading.Timer(0.3, append_row, (run / "history.jsonl", row)).start()
        threading.Timer(0.3, append_row, (run / "findings.jsonl", finding)).start()
        page.wait("document.querySelector('#run-line').textContent.includes('step 101')")
        page.wait("document.querySelector('#findings').textContent.includes('found at step 101')")
        assert page.errors == []


def test_the_cursor_is_moved_by_keys_and_read_aloud(page: Any, port: int) -> None:
    show(page, port, "#run=ended")
    page.wait(f"{FIRST}?.getAttribute('aria-label')?.includes('validation')")
    page.value(f"{FIRST}.focus()")
    for _ in range(5):
        page.key("ArrowRight")
    page.wait("document.querySelector('.readout').textContent.startsWith('step ')")
    text = page.value("document.querySelector('.readout').textContent")

    assert "training" in text
    assert page.value("document.querySelector('.readout').getAttribute('aria-live')") == "polite"


@pytest.mark.parametrize("width", [420, 1400])
def test_nothing_is_wider_than_the_page(page: Any, port: int, width: int) -> None:
    show(page, port, "#run=ended")
    page.size(width, 900)
    page.wait(f"innerWidth === {width}")

    assert page.value("document.documentElement.scrollWidth") <= width
    assert all(0 < one <= width for one in page.value(WIDTHS))


def test_on_paper_the_table_of_runs_is_whole(page: Any, port: int) -> None:
    show(page, port)
    page.size(718, 1000)  # CSS pixels of A4 between margins of a centimetre
    page.send("Emulation.setEmulatedMedia", media="print")
    right = page.value("document.querySelector('#runs').getBoundingClientRect().right")
    intervals = page.value(
        "[...document.querySelectorAll('#runs th')].some(one => one.textContent.includes('95 %')"
        " && one.offsetWidth > 0)"
    )
    page.send("Emulation.setEmulatedMedia", media="")

    assert right <= 718
    assert intervals
