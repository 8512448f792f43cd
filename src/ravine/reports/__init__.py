"""Plain data to pages and figures; reads run folders and knows nothing of torch."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.reports.page import render_report
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "render_report": "ravine.reports.page",
        },
    )

__all__ = ["render_report"]
