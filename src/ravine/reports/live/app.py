"""The live page's server: what a page may ask for, and how it is answered.

Every path is fixed, and a run is asked for by the name that it has in the table: no part of an
address becomes a path on the disk.
"""

import math
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ravine.core.errors import RunError
from ravine.core.page_style import page_style
from ravine.reports.history_columns import AXES
from ravine.reports.live.guard import LocalOnly
from ravine.reports.live.race_view import race_view
from ravine.reports.live.run_feed import RunFeed
from ravine.reports.live.run_table import RunTable
from ravine.reports.live.surface_view import surface_views
from ravine.reports.run_pictures import is_mistake_picture
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.links import is_own_file
from ravine.runs.rows import plain, read_json
from ravine.runs.run_list import RunEntry

_FILES: Final = {
    "/": ("watch.html", "text/html"),
    "/watch.js": ("watch.js", "text/javascript"),
    "/chart.js": ("chart.js", "text/javascript"),
    "/heat.js": ("heat.js", "text/javascript"),
    "/run_curves.js": ("run_curves.js", "text/javascript"),
    "/run_panels.js": ("run_panels.js", "text/javascript"),
    "/watch.css": ("watch.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_MOST_ROWS: Final = 1_500_000  # of all runs that are held in memory
_BUCKETS, _COLUMNS = 1200, 300  # of a picture, at most
_SETTINGS_SHOWN: Final = 200


class Missing(Exception):
    """A page asked for what is not there."""


@final
class Views:
    """What the pages of one server are shown.

    Args:
        root: the folder of runs.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._table = RunTable(root)
        self._table.refresh()  # so that the first page finds it read
        self._feeds: dict[str, RunFeed] = {}

    def runs(self, query: dict[str, str]) -> dict[str, Any] | None:
        """Returns the table; None where it is as the page has it."""
        self._table.refresh()
        if query.get("version") == str(self._table.version):
            return None
        return {
            "version": self._table.version,
            "root": self._root.name,
            "runs": [{**row, "path": None} for row in self._table.rows()],
        }

    def series(self, query: dict[str, str]) -> dict[str, Any] | None:
        """Returns curves and findings of a run; None where they are as the page has them."""
        entry = self._entry(query)
        feed = self._feed(entry)
        feed.advance()
        findings = _findings(entry.path)
        version = f"{feed.version}.{len(findings)}.{entry.state.kind}"
        if query.get("version") == version:
            return None
        axis = next((one for one in AXES if one == query.get("axis")), AXES[0])
        window = (_bound(query.get("low")), _bound(query.get("high")))
        buckets = min(_BUCKETS, int(_bound(query.get("buckets")) or 600))
        found = feed.columns.curves(axis, low=window[0], high=window[1], buckets=buckets)
        at = [row.get("step") or 0 for row in findings]
        return {
            "version": version,
            "complete": feed.complete,
            **found,
            "findings": [
                {**row, "x": x}
                for row, x in zip(findings, feed.columns.at_axis(at, axis), strict=True)
            ],
            "state": entry.row(),
        }

    def layers(self, query: dict[str, str]) -> dict[str, Any]:
        """Returns layers × snapshots of a run."""
        feed = self._feed(self._entry(query))
        axis = next((one for one in AXES if one == query.get("axis")), AXES[0])
        return feed.layers(axis, min(_COLUMNS, int(_bound(query.get("columns")) or _COLUMNS)))

    def details(self, query: dict[str, str]) -> dict[str, Any]:
        """Returns what is only there at times: mistakes, surfaces, the race, the settings."""
        entry = self._entry(query)
        folder = RunFolder(entry.path)
        mistakes = [
            row for row in _mistakes(folder) if is_mistake_picture(folder.path, row.get("image"))
        ]
        return {
            "settings": dict(list(entry.settings.items())[:_SETTINGS_SHOWN]),
            "mistakes": mistakes,
            "surfaces": surface_views(folder),
            "race": race_view(entry.path) if entry.kind == "race" else None,
        }

    def picture(self, query: dict[str, str]) -> bytes:
        """Returns the picture of one of the worst mistakes."""
        path = self._entry(query).path
        named = [row.get("image") for row in _mistakes(RunFolder(path))]
        image = query.get("image")
        if image not in named or not is_mistake_picture(path, image):
            raise Missing
        return (path / str(image)).read_bytes()

    def _entry(self, query: dict[str, str]) -> RunEntry:
        self._table.refresh()
        found = self._table.entries.get(query.get("run", ""))
        if found is None:
            raise Missing
        return found

    def _feed(self, entry: RunEntry) -> RunFeed:
        """Returns the rows of a run; those that were asked for longest ago give way."""
        feed = self._feeds.pop(entry.name, None) or RunFeed(RunFolder(entry.path))
        self._feeds[entry.name] = feed
        while len(self._feeds) > 1 and sum(one.rows for one in self._feeds.values()) > _MOST_ROWS:
            del self._feeds[next(iter(self._feeds))]
        return feed


def _mistakes(folder: RunFolder) -> list[dict[str, Any]]:
    ended = folder.evaluation.is_file()
    path = folder.evaluation if ended else folder.mistakes_so_far
    if not ended and not is_own_file(folder.path, path):
        return []
    try:
        found = read_json(path).get("mistakes")
    except RunError:
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def _findings(run: Path) -> list[dict[str, Any]]:
    try:
        return read_findings(RunFolder(run).findings)
    except RunError:
        return []


def _bound(text: str | None) -> float | None:
    """Returns a number of a query, None where it is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e15 else None


def make_app(root: Path) -> LocalOnly:
    """Returns the application that shows the runs in a folder."""
    views = Views(root)
    asked: dict[str, Callable[[dict[str, str]], Any]] = {
        "/api/runs": views.runs,
        "/api/series": views.series,
        "/api/layers": views.layers,
        "/api/details": views.details,
        "/picture": views.picture,
    }
    routes = [Route(path, _text(_template(name), kind)) for path, (name, kind) in _FILES.items()]
    routes.append(Route("/page.css", _text(page_style(), "text/css")))
    routes += [Route(path, _answer(view)) for path, view in asked.items()]
    return LocalOnly(Starlette(routes=routes))


def _template(name: str) -> str:
    return files("ravine.reports").joinpath("templates", name).read_text("utf-8")


def _text(content: str, media_type: str) -> Callable[[Request], Any]:
    async def answer(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


def _answer(view: Callable[[dict[str, str]], Any]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            found = view(dict(request.query_params))
        except Missing:
            return Response("there is no such run", status_code=404, media_type="text/plain")
        if found is None:
            return Response(status_code=204)
        if isinstance(found, bytes):
            return Response(found, media_type="image/png")
        return JSONResponse(plain(found))

    return answer
