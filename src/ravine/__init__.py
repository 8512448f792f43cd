"""Ravine trains convolutional image classifiers and shows why a run goes right or wrong."""
