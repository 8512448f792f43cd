"""A hook of the site: its pages ask nothing of other hosts.

The theme's offline search takes one script from a foreign host; the copy in docs/site/ stands in.
"""

import re
from typing import Any

from mkdocs.utils import get_relative_url

_SCRIPT = "site/iframe-worker.js"
_FOREIGN = re.compile(r"https://[^\"\s]+/iframe-worker/shim")


def on_post_page(output: str, *, page: Any, config: Any) -> str:  # noqa: ARG001
    """Returns the page with its own copy of the script."""
    return _FOREIGN.sub(get_relative_url(_SCRIPT, page.url), output)


def on_post_template(output_content: str, *, template_name: str, config: Any) -> str:  # noqa: ARG001
    """Returns a page that has no source, such as 404.html, whose links begin at the site's root."""
    return _FOREIGN.sub(f"/{_SCRIPT}", output_content)
