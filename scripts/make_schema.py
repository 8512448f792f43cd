"""Writes docs/json-stream.schema.json, the schema of `--json`: `make schema`."""

import json
from pathlib import Path

from ravine.workflows.json_stream import stream_schema

PATH = Path(__file__).resolve().parent.parent / "docs" / "json-stream.schema.json"

if __name__ == "__main__":
    PATH.write_text(json.dumps(stream_schema(), indent=1, ensure_ascii=False) + "\n")
    print(PATH)
