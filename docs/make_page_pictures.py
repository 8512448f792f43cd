"""Takes the pictures of the pages in docs/: `make page-pictures RUNS=folder`.

    .venv/bin/python docs/make_page_pictures.py runs/ [--run RUN] [--over RUN RUN]

Headless Chromium opens the pages as they are, at 1400 and 420 pixels, light and dark: the live page
of the folder, and the report, the surface in 3-D, the race and the function race that lie in it.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
sys.path.insert(0, str(ROOT / "scripts"))

from headless_browser import Page, open_browser  # noqa: E402


@contextmanager
def live(folder: Path) -> Iterator[str]:
    """Gives the address of the live page of a folder."""
    command = [sys.executable, "-m", "ravine", "watch", str(folder), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[2]
        finally:
            server.terminate()


def take(page: Page, url: str, name: str, *, width: int, height: int, dark: bool = False) -> None:
    """Opens a page and writes what it shows as docs/pictures/NAME.png."""
    page.errors.clear()
    page.size(width, height, dark=dark)
    page.send("Page.navigate", url="about:blank")
    page.wait("location.href === 'about:blank'")
    page.open(url)
    page.value("new Promise(done => setTimeout(done, 4000))")
    page.picture(PICTURES / f"{name}.png")
    print(PICTURES / f"{name}.png", *page.errors)


def newest(folder: Path, pattern: str) -> Path | None:
    """Returns the newest file of a pattern below a folder."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def main() -> None:
    """Takes the pictures of what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--run", help="the run that the live page shows")
    parser.add_argument("--over", nargs="*", default=[], help="runs laid over each other, narrow")
    asked = parser.parse_args()
    folder = asked.runs.resolve()
    with open_browser() as page, live(folder) as url:
        shown = f"{url}#run={asked.run}" if asked.run else url
        take(page, shown, "watch", width=1400, height=1600)
        if asked.over:
            pairs = [("run", asked.over[0]), *(("with", one) for one in asked.over)]
            shown = f"{url}#{urlencode(pairs)}"
        take(page, shown, "watch-phone", width=420, height=1500, dark=True)
        pages = {
            "page-report": "*/report.html",
            "page-surface": "*/landscape/*.html",
            "page-function": "*race-function*.html",
        }
        for name, pattern in pages.items():
            if (found := newest(folder, pattern)) is not None:
                take(page, found.as_uri(), name, width=1400, height=1000)
                take(page, found.as_uri(), f"{name}-phone", width=420, height=900, dark=True)
        if (race := newest(folder, "*/race.json")) is not None:
            take(page, (race.parent / "report.html").as_uri(), "page-race", width=1400, height=1000)


if __name__ == "__main__":
    main()
