"""Plain data to pages and figures; reads run folders, knows nothing of torch."""

from pathlib import Path


def render_report(run: Path) -> Path:
    """Stub while wiring."""
    return run / "report.html"
