"""Findings on the screen: paragraphs, or JSON lines."""

import json as json_format

from rich.console import Console
from rich.text import Text

from ravine.findings.finding import Findings

_STYLES = {"critical": "bold red", "warning": "yellow", "note": "dim"}


def show_findings(found: Findings, *, json: bool, name: str = "") -> None:
    """Prints a paragraph for each finding, or an object a line."""
    if json:
        for one in found:
            about = {"network": name} if name else {}
            print(json_format.dumps({"kind": "finding", **about, **one.row()}, ensure_ascii=False))
        return
    console = Console()
    if not found:
        console.print(f"{name}: nothing found" if name else "nothing found", highlight=False)
    for one in found:
        position = [f"layer {one.layer}"] if one.layer else []
        position += [f"step {one.step}"] if one.step else []
        text = Text(f"{one.severity} ", style=_STYLES[one.severity])
        text.append(f"{name + ': ' if name else ''}{one.code}", style="bold")
        text.append(f" ({', '.join(position)})\n" if position else "\n", style="dim")
        text.append(f"  {one.seen}.\n  Why: {one.cause}.\n  Cure: {one.cure}.", style="not bold")
        if one.symptoms:
            text.append(f"\n  Follows from it: {', '.join(one.symptoms)}.", style="dim")
        console.print(text, highlight=False, soft_wrap=True)
