"""Optimizers on functions of two variables: rollouts, theory, animations."""

from ravine.test_functions.candidates import RACERS, racers
from ravine.test_functions.function_race import FunctionRace, race_on_function
from ravine.test_functions.problems import SCENES, scene

__all__ = ["RACERS", "SCENES", "FunctionRace", "race_on_function", "racers", "scene"]
