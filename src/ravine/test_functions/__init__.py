"""Optimizers on functions of two variables: rollouts, theory, animations."""

from ravine.test_functions.candidates import CANDIDATES, parse_candidates
from ravine.test_functions.function_race import FunctionRace, race_on_function
from ravine.test_functions.problems import PROBLEMS, make_problem

__all__ = [
    "CANDIDATES",
    "PROBLEMS",
    "FunctionRace",
    "make_problem",
    "parse_candidates",
    "race_on_function",
]
