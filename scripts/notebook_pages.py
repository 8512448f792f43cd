"""A hook of the site: each notebook of docs/tutorials/ becomes a page, cell by cell."""

import json
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files


def on_files(files: Files, *, config: Any) -> Files:
    """Adds a page next to each notebook."""
    folder = Path(config.docs_dir) / "tutorials"
    for path in sorted(folder.glob("*.ipynb")):
        name = f"tutorials/{path.stem}.md"
        files.append(File.generated(config, name, content=page_of(path)))
    return files


def page_of(notebook: Path) -> str:
    """Returns the cells of a notebook as Markdown, with the outputs that are text."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parts = [part for cell in cells for part in _parts(cell)]
    download = f"[The notebook]({notebook.name}), to be opened in Jupyter."
    return "\n\n".join([parts[0], download, *parts[1:]]) + "\n"


def _parts(cell: dict[str, Any]) -> list[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [text]
    printed = "".join(_text_of(output) for output in cell["outputs"])
    shown = [f"```text\n{printed.rstrip()}\n```"] if printed.strip() else []
    return [f"```python\n{text}\n```", *shown]


def _text_of(output: dict[str, Any]) -> str:
    if output["output_type"] == "stream" and output["name"] == "stdout":
        return "".join(output["text"])
    return "".join(output.get("data", {}).get("text/plain", []))
