"""Tables of HTML, as notebooks show objects (`_repr_html_`)."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table of HTML with a title; every text is escaped.

    >>> html_table("a < b", ["x"], [[1]])
    '<p><b>a &lt; b</b></p><table><tr><th>x</th></tr><tr><td>1</td></tr></table>'
    """
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{line}</tr>" for line in [head, *lines]) if lines else ""
    return f"<p><b>{escape(title)}</b></p>" + (f"<table>{body}</table>" if body else "")
