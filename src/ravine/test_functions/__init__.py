"""Optimizers on functions of two variables: rollouts, theory, animations."""

from typing import TYPE_CHECKING

from ravine.core.lazy import lazy_names

if TYPE_CHECKING:
    from ravine.test_functions.candidates import CANDIDATES, parse_candidates
    from ravine.test_functions.function_race import FunctionRace, race_on_function
    from ravine.test_functions.problems import PROBLEMS, make_problem
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "CANDIDATES": "ravine.test_functions.candidates",
            "PROBLEMS": "ravine.test_functions.problems",
            "FunctionRace": "ravine.test_functions.function_race",
            "make_problem": "ravine.test_functions.problems",
            "parse_candidates": "ravine.test_functions.candidates",
            "race_on_function": "ravine.test_functions.function_race",
        },
    )

__all__ = [
    "CANDIDATES",
    "PROBLEMS",
    "FunctionRace",
    "make_problem",
    "parse_candidates",
    "race_on_function",
]
