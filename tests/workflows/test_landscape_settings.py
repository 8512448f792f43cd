"""Settings of `ravine landscape`: what a command line writes, and what a surface gets of it."""

import pytest

from ravine.core.errors import SettingError
from ravine.landscapes.settings import GridSettings
from ravine.workflows.landscape_settings import RunSurfaceSettings


def test_texts_of_a_command_line_are_read() -> None:
    asked = RunSurfaceSettings.of(
        {"policy": "running, batch", "budget": "1.5min", "x": "-1:1:31", "nodes": "7"}
    )

    assert asked.policy == ("running", "batch")
    assert asked.budget == 90.0
    assert asked.x == (-1.0, 1.0, 31)
    assert asked.nodes == 7


def test_every_setting_of_the_grid_reaches_the_surface() -> None:
    given = {
        "nodes": 9, "x": (-1.0, 1.0, 5), "y": (0.0, 1.0, 4), "budget": 3.0, "seed": 8,
        "sharpness": True, "convexity": 4, "ray": "auto",
    }  # fmt: skip
    surface = RunSurfaceSettings.of(given).of_surface("line", "batch")

    assert given.keys() == GridSettings.model_fields.keys()
    assert {name: getattr(surface, name) for name in given} == given
    assert (surface.along, surface.policy, surface.precision) == ("line", "batch", "auto")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": 1}, "images must be at least 2, got 1"),
        ({"policy": "running,frozen"}, "unknown policy 'frozen'"),
        ({"along": "randon"}, "did you mean 'random'"),
        ({"y": "0:1"}, "--y '0:1' is not from:to:nodes, such as --y=-1:1:51"),
        ({"budget": "soon"}, "budget 'soon' is no duration"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(given: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        RunSurfaceSettings.of(given)
