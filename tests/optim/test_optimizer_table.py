"""What every row of the table must bring along; a test fails where a part is missing."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import ravine.optim
from ravine.core.setting_texts import setting_texts
from ravine.kernels.variants import KEEPS_MOMENTUM_PRODUCT, VARIANTS
from ravine.optim.optimizers import OPTIMIZERS
from ravine.optim.settings import OptimizerSettings
from ravine.test_functions.candidates import parse_candidates
from ravine.test_functions.javascript import rule_source

HERE = Path(__file__).parent
CARDS = HERE.parents[1] / "docs" / "methods"
every_row = pytest.mark.parametrize("name", sorted(OPTIMIZERS))
every_row_by_element = pytest.mark.parametrize(
    "name", sorted(name for name, row in OPTIMIZERS.items() if row.kind.by_element)
)


@every_row
def test_the_class_is_public_under_its_own_name(name: str) -> None:
    kind = OPTIMIZERS[name].kind

    assert getattr(ravine.optim, kind.__name__) is kind
    assert kind.__name__ in ravine.optim.__all__


@every_row_by_element
def test_every_variant_is_in_the_kernels_with_its_state(name: str) -> None:
    kind = OPTIMIZERS[name].kind
    optimizer = OPTIMIZERS[name].build([nn.Parameter(torch.zeros(1))])
    variant = optimizer.variant(optimizer.param_groups[0])

    assert VARIANTS[variant] == kind.state_slots
    assert (variant in KEEPS_MOMENTUM_PRODUCT) == kind.keeps_momentum_product


@every_row_by_element
def test_there_is_a_float64_loop_of_the_formula(name: str) -> None:
    formulas = (HERE / "test_rules_against_the_formulas.py").read_text()

    assert re.search(rf"def _{name}\b", formulas)


@every_row
def test_the_card_of_an_optimizer_has_its_name(name: str) -> None:
    assert f"--optimizer {name}" in (CARDS / f"{name}.md").read_text()


@every_row_by_element
def test_it_races_on_functions_and_runs_in_a_page(name: str) -> None:
    (candidate,) = parse_candidates(name)
    rule = candidate.rule(0.1)

    assert type(rule) is OPTIMIZERS[name].kind
    assert rule_source(rule)["step"].startswith("(w, g, rate, k")


@every_row
def test_help_names_it(name: str) -> None:
    assert name in setting_texts(OptimizerSettings)["optimizer"]


@every_row
def test_settings_reach_the_constructor_that_takes_them(name: str) -> None:
    settings = OptimizerSettings(optimizer=name, momentum=0.7, alpha=0.6, eps=1e-3)
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(3)])
    groups = settings.build_optimizer(model).param_groups
    group = next((one for one in groups if one.get("orthogonal")), groups[0])
    taken = inspect.signature(OPTIMIZERS[name].kind).parameters
    expected = {"momentum": 0.7, "alpha": 0.6, "betas": (0.7, 0.6), "eps": 1e-3}

    assert {key: group[key] for key in expected if key in taken} == {
        key: value for key, value in expected.items() if key in taken
    }
    assert settings.has_momentum == bool({"momentum", "betas"} & set(taken))


@pytest.mark.parametrize(("name", "alpha"), [("rmsprop", 0.99), ("adam", 0.999), ("nadam", 0.999)])
def test_alpha_is_the_class_default_unless_given(name: str, alpha: float) -> None:
    group = OptimizerSettings(optimizer=name).build_optimizer(nn.Linear(2, 2)).param_groups[0]

    assert group.get("alpha", group.get("betas", (0, 0))[1]) == alpha
