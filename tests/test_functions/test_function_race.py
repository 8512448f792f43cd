"""Races on functions: fair, repeatable, and the optimizers' own steps."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from ravine.core.errors import SettingError
from ravine.optim import AdaGrad, Adam, Momentum, Nadam, RMSProp
from ravine.test_functions.candidates import parse_candidates, parse_learning_rates
from ravine.test_functions.function_race import FunctionRace, race_on_function
from ravine.test_functions.learning_rate_search import SearchBudget, search_learning_rates
from ravine.test_functions.problems import make_problem
from ravine.test_functions.rollout import rollout

OWN: dict[str, tuple[Any, dict[str, Any]]] = {
    "gd": (Momentum, {"momentum": 0.0}),
    "momentum": (Momentum, {}),
    "nesterov": (Momentum, {"nesterov": True}),
    "adagrad": (AdaGrad, {}),
    "rmsprop": (RMSProp, {}),
    "adam": (Adam, {}),
    "nadam": (Nadam, {}),
    "nadam(form=dozat,eps=0.1)": (Nadam, {"form": "dozat", "eps": 0.1}),
    "torch:SGD(momentum=0.5,nesterov=True)": (
        torch.optim.SGD,
        {"momentum": 0.5, "nesterov": True},
    ),
    "torch:Adadelta": (torch.optim.Adadelta, {}),
    "torch:Rprop": (torch.optim.Rprop, {}),
    "torch:Adafactor": (torch.optim.Adafactor, {}),
    "torch:RAdam": (torch.optim.RAdam, {}),
}


def small_race(function: str, optimizers: str, **options: Any) -> FunctionRace:
    given = {"steps": 40, "starts": 12, "budget": SearchBudget(trials=5, starts=4), **options}
    return race_on_function(make_problem(function), parse_candidates(optimizers), **given)


@pytest.mark.parametrize("label", OWN)
@pytest.mark.parametrize("function", ["beale", "moons"])
def test_every_row_goes_where_the_optimizer_alone_goes(label: str, function: str) -> None:
    """A loop with one parameter and torch's own backward, for each start and rate alone."""
    at, steps = make_problem(function), 25
    (candidate,) = parse_candidates(label)
    starts = at.draw_starts(3, "test", seed=1)
    kind, settings = OWN[label]
    tried = [{"lr": 0.003}, {"lr": 0.05}]

    points = rollout(at, candidate, tried, starts, steps=steps, seed=7)

    batches = at.examples.batches(steps, seed=7) if at.examples else [None] * steps
    for t, trial in enumerate(tried):
        for s, start in enumerate(starts):
            w = nn.Parameter(start.clone())
            optimizer = kind([w], **trial, **settings)
            for k in range(steps):
                optimizer.zero_grad()
                if at.examples:
                    a, b, side = at.examples.rows[batches[k]].T
                    nn.functional.softplus(-side * (w[0] * a + w[1] * b)).mean().backward()
                else:
                    at.value(w[0], w[1]).backward()
                optimizer.step()
                expected = w.detach()
                assert torch.allclose(points[k + 1, t, s], expected, 1e-9, 1e-12, equal_nan=True)


def test_settings_are_searched_per_row_as_the_optimizer_alone_would_have_them() -> None:
    at, (candidate,) = make_problem("himmelblau"), parse_candidates("adam")
    start = torch.tensor([[-0.5, -1.0]], dtype=torch.float64)
    trials = [{"lr": 0.1, "momentum": 0.5, "eps": 0.1}, {"lr": 0.2, "momentum": 0.8, "eps": 1.0}]

    points = rollout(at, candidate, trials, start, steps=30, seed=0)

    for t, trial in enumerate(trials):
        w = nn.Parameter(start[0].clone())
        optimizer = Adam([w], lr=trial["lr"], betas=(trial["momentum"], 0.999), eps=trial["eps"])
        for _ in range(30):
            optimizer.zero_grad()
            at.value(w[0], w[1]).backward()
            optimizer.step()
        assert torch.allclose(points[-1, t, 0], w.detach(), rtol=1e-9)


@pytest.mark.parametrize("function", ["beale", "sparse"])
def test_the_same_seed_is_the_same_race_bit_for_bit_and_another_is_not(function: str) -> None:
    one, two, other = (
        small_race(function, "momentum,adam,torch:RMSprop", seed=seed).numbers()
        for seed in (3, 3, 4)
    )

    assert repr(one) == repr(two)
    assert repr(one) != repr(other)


def test_the_search_is_equal_for_all_and_never_sees_the_minimum() -> None:
    at = make_problem("beale")
    blind = replace(at, minima=(), lowest=None, tolerance=None)
    field = parse_candidates("momentum,adam,torch:AdamW")
    budget = SearchBudget(trials=7, starts=5)

    found = search_learning_rates(at, field, budget, steps=20, seed=0)

    assert len({tuple(t["lr"] for t in one.trials) for one in found.values()}) == 1
    assert found == search_learning_rates(blind, field, budget, steps=20, seed=0)


def test_the_score_is_the_mean_log_loss_along_the_way() -> None:
    at, (candidate,) = make_problem("himmelblau"), parse_candidates("gd")
    budget = SearchBudget(trials=3, starts=4, low=1e-3, high=0.1)

    found = search_learning_rates(at, [candidate], budget, steps=30, seed=0)["gd"]

    starts = at.draw_starts(4, "search starts", seed=0)
    losses: list[list[list[float]]] = []
    for lr in (0.001, 0.01, 0.1):
        runs = [
            rollout(at, candidate, [{"lr": lr}], s[None], steps=30, seed=0)[:, 0, 0] for s in starts
        ]
        losses.append([at.values(run)[::10].tolist() for run in runs])
    lowest = min(v for rate in losses for run in rate for v in run if math.isfinite(v))
    for run_of_rate, score in zip(losses, found.scores, strict=True):
        parts = []
        for run in run_of_rate:
            for v in run:
                share = (v - lowest) / (run[0] - lowest) if math.isfinite(v) else 1e3
                parts.append(min(3.0, max(-6.0, math.log10(max(share, 1e-300)))))
        assert score == pytest.approx(sum(parts) / len(parts))
    assert found.best["lr"] == 0.01


def test_the_table_is_what_counting_says() -> None:
    race = small_race("himmelblau", "momentum", starts=30, steps=60)
    (result,) = race.results
    starts = race.problem.draw_starts(30, "race starts", seed=0)
    losses = race.problem.values(
        rollout(race.problem, result.candidate, [{"lr": result.lr}], starts, steps=60, seed=0)[:, 0]
    )

    firsts = []
    for run in losses.T.tolist():
        reached = [k for k, v in enumerate(run) if v <= 1e-3]
        firsts.append(reached[0] if reached else math.inf)
    assert result.statistics.reached == sum(math.isfinite(k) for k in firsts)
    assert result.statistics.steps[1] == sorted(firsts)[15]
    assert result.statistics.gaps[1] == sorted(losses[-1].tolist())[15]


@pytest.mark.slow
@pytest.mark.parametrize("function", ["quadratic", "rosenbrock"])
def test_the_hierarchy_of_inclusion_holds_after_tuning(function: str) -> None:
    """Choi et al. 2019: who can imitate another must be no worse, if all is tuned alike."""
    budget = SearchBudget(trials=100, starts=16, tune=("lr", "momentum", "eps"))
    at, field = make_problem(function), parse_candidates("gd,momentum,nesterov,nadam")

    race = race_on_function(at, field, starts=50, budget=budget, steps=150)

    starts = at.draw_starts(50, "race starts", seed=0)
    scores = {}
    for result in race.results:
        places = rollout(at, result.candidate, [{"lr": result.lr}], starts, steps=150, seed=0)[:, 0]
        losses = at.values(places).nan_to_num(1e3, posinf=1e3)
        scores[result.candidate.label] = losses.clamp(1e-6, 1e3).log10().mean(dim=0)
    for special, general in (("gd", "momentum"), ("nesterov", "nadam")):
        worse = scores[general] - scores[special]
        error = worse.std() / math.sqrt(len(worse))
        assert worse.mean() <= 2 * error


def test_one_that_diverges_is_named_and_the_rest_go_on() -> None:
    race = small_race("beale", "momentum,adam", steps=60)
    wild = race_on_function(
        make_problem("beale"),
        parse_candidates("momentum,adam", {"momentum": 1.0, "adam": race.results[1].lr}),
        steps=60,
        starts=12,
    )

    assert wild.results[0].diverged_at is not None
    assert math.isnan(wild.results[0].losses[-1])
    assert wild.results[0].statistics.diverged > 0
    assert math.isinf(wild.results[0].statistics.gaps[2])
    assert wild.results[1].diverged_at is None
    assert wild.results[1].path[-1].tolist() == race.results[1].path[-1].tolist()


def test_adagrad_earns_its_name_where_a_feature_is_seldom_there() -> None:
    race = race_on_function(
        make_problem("sparse"),
        parse_candidates("gd,adagrad"),
        starts=60,
        budget=SearchBudget(trials=17, low=0.05, high=5),
    )
    gd, adagrad = (result.statistics for result in race.results)

    assert adagrad.steps[1] < 0.7 * gd.steps[1]


@pytest.mark.parametrize(
    ("optimizers", "given", "message"),
    [
        ("adma", "", "unknown optimizer 'adma'; did you mean 'adam'"),
        ("SGD", "", "did you mean 'torch:SGD'"),
        ("torch:Adm", "", "did you mean 'torch:Adam'"),
        ("adam(beta=1)", "", r"optimizer adam\(beta=1\) cannot be built.*beta"),
        ("adam(betas=(0.9,1.5))", "", r"betas\[1\] must be in \[0, 1\), got 1.5"),
        ("adam(betas=(0.9,0.99)", "", "a bracket is open"),
        ("adam(lr=0.1)", "", "give learning rates by --lr"),
        ("adam,adam", "", "races twice"),
        ("", "", "no optimizer in ''"),
        ("adam", "nadam=0.1", "unknown optimizer in --lr 'nadam'; did you mean 'adam'"),
        ("adam", "adam=fast", "is not optimizer=learning rate"),
        ("adam", "adam=-1", r"lr must be in \[0, inf\), got -1"),
        ("torch:Muon", "", "Muon cannot be built"),
    ],
)
def test_a_candidate_that_does_not_fit_is_refused_in_one_line(
    optimizers: str, given: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        parse_candidates(optimizers, parse_learning_rates(given))
    assert "\n" not in str(caught.value)


def test_a_candidate_that_cannot_step_is_named() -> None:
    with pytest.raises(SettingError, match="torch:SparseAdam cannot race here"):
        small_race("beale", "torch:SparseAdam")


def test_lbfgs_takes_its_closure_and_one_evaluation_a_step() -> None:
    race = small_race("himmelblau", "torch:LBFGS", steps=30)

    assert "max_iter 1" in race.results[0].candidate.shown_settings()
    assert race.results[0].losses[-1] < race.results[0].losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be in"),
        ({"starts": 0}, "starts must be in"),
        ({"start": (9.0, 0.0)}, "is outside"),
    ],
)
def test_a_number_that_does_not_fit_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        small_race("beale", "adam", **options)


@pytest.mark.parametrize("tune", [("rate",), ("momentum",)])
def test_a_search_over_something_else_is_told(tune: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="tune"):
        SearchBudget(tune=tune)
