"""Builds a wheel into dist/ that a package index takes: `make wheel URL=...`.

On Linux auditwheel renames it to the manylinux policy that its C library fulfils. libgomp stays
out of it: torch brings one of the same name, and both have to share it, for one pool of threads.

An index shows README.md without the files next to it. Its links become links below URL, the
address of the files of the sources (https://HOST/OWNER/ravine/blob/main); without URL they become
plain text, and pictures are left out. Its commands install the package, not a checkout.
"""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tool_environment import ROOT, tool_environment

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)]+)\)")


def readme_for_index(text: str, url: str) -> str:
    """Returns README.md with links that work anywhere.

    Args:
        text: with relative links.
        url: address of the sources' files; empty where there is none.

    >>> readme_for_index("[a](b.md) ![c](d.png)", "https://x.org/r/blob/main")
    '[a](https://x.org/r/blob/main/b.md) ![c](https://x.org/r/raw/main/d.png)'
    >>> readme_for_index("[a](b.md) ![c](d.png)", "").strip()
    'a'
    >>> readme_for_index("pip install .      # from a checkout; Linux", "")
    'pip install ravine # Linux'
    >>> readme_for_index("needs '.[watch]'", "")
    "needs 'ravine[watch]'"
    """

    def absolute(found: re.Match[str]) -> str:
        picture, label, path = found.groups()
        if not url:
            return "" if picture else label
        base = url.replace("/blob/", "/raw/") if picture else url
        return f"{picture}[{label}]({base.rstrip('/')}/{path})"

    text = re.sub(r"pip install \. {5}( *)# from a checkout; ", r"pip install ravine\1# ", text)
    return _LINK.sub(absolute, text.replace("'.[", "'ravine["))


def copy_sources(to: Path) -> None:
    """Copies the files under version control."""
    shutil.rmtree(to, ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def main() -> None:
    """Builds the wheel, and prints its path."""
    url = sys.argv[1] if len(sys.argv) > 1 else ""
    sources, raw, dist = ROOT / "build" / "sources", ROOT / "build" / "raw-wheel", ROOT / "dist"
    copy_sources(sources)
    readme = sources / "README.md"
    readme.write_text(readme_for_index(readme.read_text(encoding="utf-8"), url), encoding="utf-8")
    shutil.rmtree(raw, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "-w", raw, sources], check=True)
    (wheel,) = raw.glob("*.whl")
    dist.mkdir(exist_ok=True)
    if platform.system() == "Linux":
        programs = tool_environment("requirements-wheel.lock")
        repair = [programs / "auditwheel", "repair", "--exclude", "libgomp.so.1", "-w", dist, wheel]
        subprocess.run(repair, check=True, env={"PATH": f"{programs}:/usr/bin:/bin"})
    else:
        shutil.copy2(wheel, dist)
    print(f"wheel: {max(dist.glob('*.whl'), key=lambda path: path.stat().st_mtime)}")


if __name__ == "__main__":
    main()
