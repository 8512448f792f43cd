"""The runs of a folder in a terminal: a full screen over ssh, or a line per epoch in a file."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ravine.reports.live.braille import braille_curve, thinned
from ravine.reports.live.run_feed import RunFeed
from ravine.reports.live.run_table import RunTable
from ravine.reports.report_summary import clock, progress_line
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_findings
from ravine.runs.run_list import RunEntry
from ravine.runs.score import ACCURACY

_STYLES: Final = {"running": "green", "stopped": "yellow", "ended": "dim"}
_SEVERITIES: Final = {"critical": "bold red", "warning": "yellow"}
_NARROW: Final = 60  # columns, below which a curve takes the whole width
_FINDINGS: Final = 4
_DECADES: Final = 60  # the largest value over the least, above which a curve is logarithmic
_GAP: Final = "  "


@final
class TerminalView:
    """What a terminal shows of a folder of runs, drawn anew as they grow.

    Args:
        root: the folder.
        chosen: the run that is drawn; None for the newest that runs, else the newest.
    """

    def __init__(self, root: Path, *, chosen: str | None = None) -> None:
        self._table, self._chosen = RunTable(root), chosen
        self._feeds: dict[str, RunFeed] = {}

    def refresh(self) -> None:
        """Reads what has changed."""
        self._table.refresh()
        if (entry := self._shown()) is not None:
            self._feed(entry).advance()

    @property
    def entries(self) -> list[RunEntry]:
        """The runs, those that run first, then the newest."""
        found = self._table.entries.values()
        return sorted(found, key=lambda one: (one.state.kind != "running", -one.changed, one.name))

    def _shown(self) -> RunEntry | None:
        if self._chosen is not None:
            return self._table.entries.get(self._chosen)
        return next((one for one in self.entries if one.kind != "race"), None)

    def _feed(self, entry: RunEntry) -> RunFeed:
        return self._feeds.setdefault(entry.name, RunFeed(RunFolder(entry.path)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        lines = list(self.lines(width=options.max_width, height=height))
        yield Text("\n").join(lines[: max(1, height - 1)])

    def lines(self, *, width: int, height: int) -> Iterator[Text]:
        """Yields the lines of a screen.

        Args:
            width: columns.
            height: lines; a long list of runs is cut.
        """
        entry = self._shown()
        below = [] if entry is None else list(self._run_lines(entry, width, height))
        room = max(3, height - len(below) - 3)
        yield from _table_lines(self.entries, width, room)
        if below:
            yield Text("")
            yield from below

    def _run_lines(self, entry: RunEntry, width: int, height: int) -> Iterator[Text]:
        state = f"{entry.state_text}: {progress_line(entry.state)}"
        head = Text(entry.name, style="bold")
        head.append(f"{_GAP}{state}", style=_STYLES[entry.state.kind])
        yield _cut(head, width)
        feed = self._feed(entry)
        tall = max(2, min(8, height // 4))
        side = width < _NARROW
        each = width if side else (width - len(_GAP)) // 2
        curves = [
            _curve_lines(name, values, width=each, height=tall)
            for name, values in (("loss", feed.column("loss")), ("accuracy", _accuracy(feed)))
        ]
        if side:
            yield from (Text(line) for lines in curves for line in lines)
        else:
            yield from (Text(a.ljust(each) + _GAP + b) for a, b in zip(*curves, strict=True))
        for row in read_findings(RunFolder(entry.path).findings)[:_FINDINGS]:
            severity = str(row.get("severity"))
            text = Text(f"{severity} {row.get('code')}", style=_SEVERITIES.get(severity, "dim"))
            text.append(f" {row.get('text')}; {row.get('cure')}", style="not bold default")
            yield _cut(text, width)


def _accuracy(feed: RunFeed) -> Sequence[float]:
    """Returns the validation accuracy where there are some, else that of training."""
    validated = [v for v in feed.epoch_column("accuracy") if math.isfinite(v)]
    return validated if len(validated) > 1 else feed.column("accuracy")


def _curve_lines(name: str, values: Sequence[float], *, width: int, height: int) -> list[str]:
    known = [v for v in values if math.isfinite(v)]
    span = f"{min(known):.4g} to {max(known):.4g}, now {known[-1]:.4g}" if known else "no value yet"
    points = thinned(values, 4 * width)
    if known and min(known) > 0 and max(known) > _DECADES * min(known):
        points = [math.log10(v) if v > 0 else math.nan for v in points]
        span += ", logarithmic"
    drawn = braille_curve(points, width=width, height=height)
    return [f"{name}: {span}"[:width], *drawn]


def _table_lines(entries: Sequence[RunEntry], width: int, room: int) -> Iterator[Text]:
    rows = [_columns(one) for one in entries]
    shown = rows[: max(1, room - 1)]
    if not shown:
        yield Text("no runs here yet")
        return
    names = list(shown[0])
    lengths = {name: max(len(name), *(len(row[name]) for row in shown)) for name in names}
    lengths["run"] = min(lengths["run"], max(12, width // 3))
    while len(names) > 2 and sum(lengths[n] + len(_GAP) for n in names) - len(_GAP) > width:
        names.pop()
    yield _cut(Text(_line({name: name for name in names}, names, lengths), style="bold"), width)
    for row in shown:
        line = Text(_line(row, names, lengths))
        line.highlight_words(["running"], _STYLES["running"])
        line.highlight_words(["stopped"], _STYLES["stopped"])
        line.highlight_words(["critical"], _SEVERITIES["critical"])
        yield _cut(line, width)
    if len(rows) > len(shown):
        yield Text(f"… and {len(rows) - len(shown)} more", style="dim")


def _line(row: dict[str, str], names: Sequence[str], lengths: dict[str, int]) -> str:
    cells = [_fitted(row[name], lengths[name]).ljust(lengths[name]) for name in names]
    return _GAP.join(cells).rstrip()


def _fitted(text: str, length: int) -> str:
    """Returns the end of a text that is too long: names of one race differ at their ends."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


def _columns(one: RunEntry) -> dict[str, str]:
    state = one.state
    accuracy = "–" if one.accuracy is None else f"{100 * one.accuracy:.2f} %"
    accuracy += "" if one.measure == ACCURACY else f" {one.measure}"
    worst = " ".join(one.findings[0]) if one.findings else "–"
    return {
        "run": one.name,
        "state": one.state_text,
        "accuracy": accuracy,
        "left": "–" if state.left is None else clock(state.left),
        "findings": worst,
        "epoch": f"{state.epoch:.4g}" if state.epoch else "–",
        "network": str(one.settings.get("model") or "–"),
    }


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    return text


@final
class EpochLines:
    """The runs of a folder as lines, for files and pipes: one per epoch, and one per end.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._table = RunTable(root)
        self._feeds: dict[str, RunFeed] = {}
        self._seen: dict[str, tuple[int, str]] = {}

    def new_lines(self) -> list[str]:
        """Returns what happened since the last call; at first only where each run stands."""
        self._table.refresh()
        found = []
        for name, entry in self._table.entries.items():
            if entry.kind == "race":
                continue
            before = self._seen.get(name)
            if entry.state.kind != "running" and before and before[1] == entry.state_text:
                continue
            feed = self._feeds.setdefault(name, RunFeed(RunFolder(entry.path)))
            feed.advance()
            count = len(feed.epoch_column("step"))
            if before is None or before[1] != entry.state_text:
                found.append(f"{name}: {entry.state_text}: {progress_line(entry.state)}")
            elif count > before[0]:
                found += (_epoch_line(name, feed, k, entry) for k in range(before[0], count))
            self._seen[name] = (count, entry.state_text)
        return found


def _epoch_line(name: str, feed: RunFeed, k: int, entry: RunEntry) -> str:
    def shown(column: str, text: str) -> str:
        value = feed.epoch_column(column)[k]
        return text.format(value) if math.isfinite(value) else "–"

    parts = [
        f"{name}: epoch {feed.epoch_column('epoch')[k]:.4g}",
        f"loss {shown('train_loss', '{:.3f}')}",
        f"validation {shown('accuracy', '{:.2%}')}",
        f"loss {shown('loss', '{:.3f}')}",
    ]
    left: Any = entry.state.left
    return _GAP.join([*parts, *([f"left {clock(left)}"] if left is not None else [])])
