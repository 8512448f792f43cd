"""Plain data to pages and figures; reads run folders and knows nothing of torch."""

from ravine.reports.page import render_report

__all__ = ["render_report"]
