"""One table of colours: by name, told apart, and readable on the paper of the pages."""

import re
from itertools import combinations

import pytest

from ravine.core.colours import NAMED, PAPER, SHADES, WASH, Shade, shades_of
from ravine.core.page_style import page_style


def luminance(colour: str) -> float:
    """Returns the relative luminance of WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", SHADES)
def test_text_in_each_shade_can_be_read_on_paper_and_wash(name: str) -> None:
    for ground in (PAPER, WASH):
        assert contrast(SHADES[name].light, ground.light) >= 4.5
        assert contrast(SHADES[name].dark, ground.dark) >= 4.5


def test_the_texts_of_the_stylesheet_can_be_read() -> None:
    blocks = re.findall(r":root \{(.*?)\}", page_style())
    assert len(blocks) == 3
    for block, ground in zip(blocks, ("light", "dark", "light"), strict=True):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for name in ("ink", "dim", "red"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, (name, ground)
            assert contrast(colours[name], colours["wash"]) >= 4.5, (name, ground)


def test_no_two_shades_are_alike() -> None:
    for one, other in combinations(SHADES.values(), 2):
        for k in range(len(Shade._fields)):
            pairs = ((int(a[k][n : n + 2], 16) for a in (one, other)) for n in (1, 3, 5))
            assert sum((p - q) ** 2 for p, q in pairs) > 35**2


def test_a_method_has_one_colour_whoever_races_with_it() -> None:
    alone, together = shades_of(["adam"]), shades_of(["muon", "lr=0.1", "adam", "momentum"])

    assert alone["adam"] == together["adam"] == NAMED["adam"]
    assert len(set(together.values())) == 4


def test_more_names_than_shades_come_again() -> None:
    names = [f"model={k}" for k in range(20)]
    found = shades_of(names)

    assert list(found) == names
    assert set(found.values()) == set(SHADES)
