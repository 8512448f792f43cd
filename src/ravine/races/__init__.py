"""Races: several optimizers or settings side by side, fairly."""

from ravine.races.contest import FunctionRace, race_on_function
from ravine.races.functions import SCENES, scene
from ravine.races.racers import RACERS, racers

__all__ = ["RACERS", "SCENES", "FunctionRace", "race_on_function", "racers", "scene"]
